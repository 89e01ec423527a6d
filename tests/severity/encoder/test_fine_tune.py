from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from severity.encoder.conftest import MakeSettings, complaints_with_classes
from tarjih.errors import DataError, WorkFailedError
from tarjih.progress import Advance, Reporter
from tarjih.severity.annotator import NO_WORK, Work
from tarjih.severity.calibration import Floats, log_loss, softmax
from tarjih.severity.encoder import fine_tune as module
from tarjih.severity.encoder.fine_tune import CHECKPOINT, fine_tune
from tarjih.severity.encoder.load import load_encoder
from tarjih.severity.encoder.scorer import EncoderScorer
from tarjih.severity.encoder.settings import EncoderSettings

COMPLAINTS, CLASSES = complaints_with_classes(60)
OTHERS, OTHER_CLASSES = complaints_with_classes(60, seed=1)


class Killed(BaseException):
    """As Ctrl-C, or the end of a process."""


class Watching(Reporter):
    """Counts steps and hears warnings; ends the process after `steps` steps."""

    def __init__(self, steps: int | None = None) -> None:
        self.total: int | None = None
        self.counts: list[int] = []
        self.warnings: list[str] = []
        self._steps = steps

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        self.total = total
        yield self._advance

    def _advance(self, count: int) -> None:
        self.counts.append(count)
        if self._steps is not None and sum(self.counts) >= self._steps:
            raise Killed

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """After every step."""
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(module, "_LARGEST_SHARE_OF_CHECKPOINTS", math.inf)


def fitted(settings: EncoderSettings, work: Work = NO_WORK) -> EncoderScorer:
    return fine_tune(COMPLAINTS, CLASSES, settings, work)


def logits_of(settings: EncoderSettings, work: Work = NO_WORK) -> Floats:
    return fitted(settings, work).logits(OTHERS)


def interrupted(settings: EncoderSettings, folder: Path, steps: int) -> Watching:
    watching = Watching(steps)
    with pytest.raises(Killed):
        fitted(settings, Work(folder, watching))
    return watching


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pooling": "model", "epochs": 12},
        {"objective": "ordinal", "class_weights": "balanced", "label_smoothing": 0.05},
        {"frozen": "embeddings", "precision": "bfloat16"},
    ],
    ids=["default", "own head", "other objective", "bfloat16"],
)
def test_it_learns_what_can_be_learnt(changes: dict[str, Any], make_settings: MakeSettings) -> None:
    settings = make_settings(**{"epochs": 8, **changes})
    found = logits_of(settings)
    assert (found.argmax(axis=1) == OTHER_CLASSES).mean() > 0.9


def test_the_same_seed_gives_the_same_scorer_and_leaves_the_random_numbers_alone(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings(epochs=1)
    torch.manual_seed(1)
    first = logits_of(settings)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    assert np.array_equal(logits_of(settings), first)
    assert not np.array_equal(logits_of(make_settings(epochs=1, seed=1)), first)


@pytest.mark.usefixtures("checkpoints")
@pytest.mark.parametrize("changes", [{}, {"patience": 2, "evaluations_per_epoch": 3}])
def test_an_interrupted_fit_ends_as_if_it_had_not_been(
    changes: dict[str, Any], make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(epochs=2, **changes)
    straight = logits_of(settings)
    for stop in (2, 5, 9):
        interrupted(settings, tmp_path, stop)
    watching = Watching()
    assert np.array_equal(logits_of(settings, Work(tmp_path, watching)), straight)
    assert watching.counts[0] == 8  # the ninth step was taken, but died before its checkpoint
    again = Watching()
    assert np.array_equal(logits_of(settings, Work(tmp_path, again)), straight)
    assert len(again.counts) == 1  # nothing was left to do
    assert not any(path.suffix in {".pt", ".pth", ".bin"} for path in tmp_path.rglob("*"))


KILLED = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from severity.encoder import test_fine_tune as tests

class Killing(tests.Watching):
    def _advance(self, count):
        super()._advance(count)
        if sum(self.counts) == 6:
            os.kill(os.getpid(), signal.SIGKILL)

tests.module._SECONDS_BETWEEN_CHECKPOINTS = 0.0
tests.module._LARGEST_SHARE_OF_CHECKPOINTS = tests.math.inf
tests.torch.set_num_threads(int(sys.argv[4]))
settings = tests.EncoderSettings.model_validate_json(sys.argv[2])
tests.fitted(settings, tests.Work(tests.Path(sys.argv[3]), Killing()))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal")
def test_a_fit_that_was_killed_within_an_epoch_ends_as_if_it_had_not_been(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(epochs=2)
    tests = str(Path(__file__).parents[2])
    arguments = [tests, settings.model_dump_json(), str(tmp_path), str(torch.get_num_threads())]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    watching = Watching()
    assert np.array_equal(logits_of(settings, Work(tmp_path, watching)), logits_of(settings))
    assert watching.counts[0] == 5  # of eight steps an epoch; the sixth died with the process


@pytest.mark.usefixtures("checkpoints")
def test_a_finished_fit_keeps_no_more_than_its_weights(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    fitted(make_settings(epochs=1, patience=1), Work(tmp_path))
    (file,) = tmp_path.iterdir()
    assert file.name == CHECKPOINT
    assert {name.split("/")[0] for name in load_file(file)} == {"weights"}


@pytest.mark.usefixtures("checkpoints")
def test_a_damaged_checkpoint_is_told_and_not_used(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(epochs=1)
    interrupted(settings, tmp_path, 3)
    file = tmp_path / CHECKPOINT
    file.write_bytes(file.read_bytes()[:-10])
    watching = Watching()
    assert np.array_equal(logits_of(settings, Work(tmp_path, watching)), logits_of(settings))
    assert watching.counts[0] == 0
    assert "damaged" in watching.warnings[0]


@pytest.mark.usefixtures("checkpoints")
def test_a_checkpoint_of_another_encoder_is_told_and_not_used(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    interrupted(make_settings(epochs=1, pooling="model"), tmp_path, 3)
    settings, watching = make_settings(epochs=1), Watching()
    assert np.array_equal(logits_of(settings, Work(tmp_path, watching)), logits_of(settings))
    assert "another encoder" in watching.warnings[0]


def test_checkpoints_are_seconds_apart(make_settings: MakeSettings, tmp_path: Path) -> None:
    interrupted(make_settings(), tmp_path, 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frozen", ["embeddings", "body"])
def test_what_is_frozen_stays(frozen: str, make_settings: MakeSettings) -> None:
    settings = make_settings(epochs=1, frozen=frozen)
    before = load_encoder(settings).classifier.body.state_dict()
    after = fitted(settings).encoder.classifier.body.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("embeddings.") for name in changed)
    assert bool(changed) is (frozen == "embeddings")


def test_early_stopping_takes_the_best_weights(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half of the labels mean nothing: learning them by heart makes the validation loss rise.
    draw = random.Random(0)
    noisy = np.array([draw.randrange(3) if draw.random() < 0.5 else k for k in CLASSES])
    losses: list[float] = []
    measure = module._Run._validation_loss

    def recorded(run: Any) -> float:
        losses.append(measure(run))
        return losses[-1]

    monkeypatch.setattr(module._Run, "_validation_loss", recorded)
    settings = make_settings(epochs=30, patience=3, evaluations_per_epoch=1, validation_share=0.25)
    watching = Watching()
    scorer = fine_tune(COMPLAINTS, noisy, settings, Work(None, watching))
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 4
    assert watching.total is not None
    assert sum(watching.counts) < watching.total
    rows = module._split(COMPLAINTS, noisy, settings)[1]
    found = log_loss(softmax(scorer.logits([COMPLAINTS[row] for row in rows])), noisy[rows])
    assert found == pytest.approx(min(losses), abs=1e-5)


def test_near_duplicates_are_on_one_side_of_the_validation(make_settings: MakeSettings) -> None:
    # Each complaint twice: once more with a mark that changes nothing.
    twins = [*COMPLAINTS, *(f"{text}!" for text in COMPLAINTS)]
    classes = np.concatenate([CLASSES, CLASSES])
    settings = make_settings(patience=1, validation_share=0.2)
    rows, held_out = module._split(twins, classes, settings)
    assert sorted([*rows, *held_out]) == list(range(120))
    assert not {row % 60 for row in rows} & {row % 60 for row in held_out}
    assert len(held_out) == pytest.approx(24, abs=6)
    everything, nothing = module._split(twins, classes, make_settings())
    assert (len(everything), len(nothing)) == (120, 0)


def test_too_few_rows_for_early_stopping_are_told(make_settings: MakeSettings) -> None:
    with pytest.raises(DataError, match="early stopping cannot be judged") as caught:
        fine_tune(COMPLAINTS[:9], CLASSES[:9], make_settings(patience=1), NO_WORK)
    assert "validation_share" in caught.value.remedy


def test_a_loss_that_is_no_number_is_told(make_settings: MakeSettings) -> None:
    settings = make_settings(learning_rate=1e30, head_learning_rate=1e30, warmup_share=0)
    with pytest.raises(WorkFailedError, match="lower learning_rate"):
        fitted(settings)


def test_progress_counts_the_steps(make_settings: MakeSettings) -> None:
    watching = Watching()
    fitted(make_settings(epochs=2), Work(None, watching))
    assert watching.total == sum(watching.counts) == 2 * 8
