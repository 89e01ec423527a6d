"""The curves of a run: those in run.json add up, and TensorBoard shows the same."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from tarjih.models.load import load_tokenizer
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import TrainingSummary
from tarjih.training.job import TrainingJob
from tarjih.training.settings import TrainingSettings
from tarjih.training.train import train
from tarjih.training.weighed import weigh_examples
from tiny_models import FLOAT32

from .conftest import MakeJob
from .test_train import interrupt

Curves = dict[str, dict[int, float]]


def curves_in(folder: Path) -> Curves:
    """{tag: {step: value}} of TensorBoard's files."""
    events: Any = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }


def curves_of(summary: TrainingSummary) -> Curves:
    """The same of a summary, under the names that Transformers gives them."""
    curves: Curves = defaultdict(dict)
    for point in summary.history:
        values = {
            "train/plain_loss": point.loss,
            "train/loss": point.weighted_loss,
            "train/learning_rate": point.learning_rate,
            "train/grad_norm": point.gradient_norm,
            "eval/loss": point.validation_loss,
            **{f"train/plain_loss_{k}": v for k, v in point.loss_by_severity.items()},
            **{f"eval/loss_{k}": v for k, v in point.validation_loss_by_severity.items()},
        }
        for tag, value in values.items():
            if value is not None:
                curves[tag][point.step] = value
    assert summary.first_step is not None
    curves["train/first_step_gradient_norm"] = {0: summary.first_step.norm}
    curves["train/first_step_gradient_norm_unweighted"] = {0: summary.first_step.unweighted_norm}
    curves["train/first_step_gradient_cosine"] = {0: summary.first_step.cosine}
    return curves


@pytest.fixture(scope="module")
def job(make_job: MakeJob) -> TrainingJob:
    return make_job(max_steps=4, validate_every=2)


@pytest.fixture(scope="module")
def run(job: TrainingJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curves") / "run"
    train(job, folder)
    return folder


@pytest.fixture(scope="module")
def summary(job: TrainingJob, run: Path) -> TrainingSummary:
    return train(job, run).training


def test_tensorboard_shows_what_the_record_holds(run: Path, summary: TrainingSummary) -> None:
    shown, recorded = curves_in(run / "tensorboard"), curves_of(summary)
    severities = ("non_critical", "neutral", "critical")
    assert recorded.keys() >= {
        "train/loss",
        "train/plain_loss",
        "eval/loss",
        *(f"train/plain_loss_{severity}" for severity in severities),
        *(f"eval/loss_{severity}" for severity in severities),
    }
    assert sorted(recorded["train/loss"]) == [1, 2, 3, 4]
    assert sorted(recorded["eval/loss"]) == [0, 2, 4]
    for tag, values in recorded.items():
        assert shown[tag] == pytest.approx(values, rel=1e-6), tag  # it keeps float32


def test_a_stopped_run_draws_no_step_twice(job: TrainingJob, run: Path, tmp_path: Path) -> None:
    often = TrainingSettings.model_validate({**job.training.model_dump(), "checkpoint_every": 2})
    job = replace(job, training=often)
    for after in (1, 3):  # before the first checkpoint, and past it
        interrupt(job, tmp_path / "run", after=after)
    train(job, tmp_path / "run")
    events: Any = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    for tag in ("train/plain_loss", "train/first_step_gradient_cosine", "eval/loss"):
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)), tag
    drawn, wanted = curves_in(tmp_path / "run" / "tensorboard"), curves_in(run / "tensorboard")
    for tag in ("train/plain_loss", "eval/loss"):
        assert drawn[tag] == pytest.approx(wanted[tag])


def test_the_losses_of_the_severities_add_up(job: TrainingJob, summary: TrainingSummary) -> None:
    encoder = PromptEncoder(load_tokenizer(job.model, FLOAT32), job.prompt)
    weighed = weigh_examples(
        job.train, encoder, weighting=job.weighting, training=job.training, seed=job.seed
    )
    steps = weighed.steps(job.training, job.seed)
    points = [point for point in summary.history if point.loss is not None]
    assert [point.step for point in points] == [1, 2, 3, 4]
    several = 0
    for point, step in zip(points, steps, strict=True):
        tokens: dict[str, int] = defaultdict(int)
        for index in (index for part in step for index in part):
            severity = job.train[index].severity
            assert severity is not None
            tokens[str(severity)] += len(encoder.response(job.train[index].response))
        assert point.loss_by_severity.keys() == tokens.keys()
        total = sum(point.loss_by_severity[name] * count for name, count in tokens.items())
        assert total / sum(tokens.values()) == pytest.approx(point.loss, rel=1e-9)
        several += len(set(point.loss_by_severity.values())) > 1
    assert several


def test_no_tracker_leaves_no_curves(make_job: MakeJob, tmp_path: Path) -> None:
    train(make_job(max_steps=1, report_to=[], validation=[]), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "adapter",
        "plan.json",
        "run.json",
    }
