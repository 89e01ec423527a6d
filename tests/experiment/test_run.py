from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from small_world import config_of, few_consultations, without_times, write_consultations
from tarjih.errors import DataError, FolderError, ModelError
from tarjih.evaluation.generations import read_generations
from tarjih.experiment import cells
from tarjih.experiment.run import run_experiment
from tarjih.files import read_json
from tarjih.progress import Reporter
from tarjih.records import SEVERITIES, ExperimentResults, ResultRecord
from tarjih.report.load import load_results

FinishedExperiment = tuple[Path, ExperimentResults]


class Listening(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells that are run, as they are."""
    names: list[str] = []
    real = cells._run

    def listen(cell: cells.Cell, *args: Any) -> ResultRecord:
        names.append(str(cell).split(", ", 1)[1])
        return real(cell, *args)

    monkeypatch.setattr(cells, "_run", listen)
    return names


def test_results_are_written_as_returned_and_hold_everything(
    finished: FinishedExperiment, plan: dict[str, Any]
) -> None:
    out, results = finished
    assert load_results(out) == results
    written = read_json(out / "results.json")
    assert written["format"] == "tarjih.results/1"
    assert written["settings"]["training"]["max_steps"] == 3
    assert set(written["signature"]) == {"settings_hash", "data_hash", "versions"}
    assert set(written["signature"]["data_hash"]) == {"train", "validation", "test"}
    assert written["data"]["rows_read"] == 30
    assert set(written["severity"]) == {"annotator", "fitted_rows_out_of_fold", "test_rows"}
    assert [(r.condition, r.seed, r.status) for r in results.records] == [
        ("base", 1, "done"),
        ("uniform", 1, "done"),
        ("uniform", 2, "done"),
    ]
    with pytest.raises(ValidationError):
        ExperimentResults.model_validate({**written, "more": 1})


def test_a_record_holds_scores_weights_and_training_and_names_its_files(
    finished: FinishedExperiment,
) -> None:
    out, results = finished
    base, uniform, _ = results.records
    assert (base.weights, base.training, base.run_folder) == (None, None, None)
    assert uniform.weights is not None
    assert uniform.weights.effective_sample_share == pytest.approx(1.0)
    assert uniform.training is not None
    assert (uniform.training.steps, uniform.training.examples) == (3, uniform.weights.examples)
    assert any(point.validation_loss is not None for point in uniform.training.history)
    assert uniform.run_folder is not None
    assert (out / uniform.run_folder / "adapter" / "adapter_model.safetensors").is_file()
    for record in results.records:
        assert record.error is None
        assert record.answers_file is not None
        answers = read_generations(out / record.answers_file)
        assert record.scores is not None
        assert record.scores.overall.examples == len(answers) > 0
        assert set(record.scores.by_severity) <= set(map(str, SEVERITIES))
        assert record.scores.unlabelled_severities == 0
        assert "bertscore_f1" in record.scores.signatures
        assert {"settings_hash", "data_hash", "model_hash", "versions"} <= set(record.signature)
        rows = (out / record.answers_file).with_name("scores.jsonl")
        assert len(rows.read_text(encoding="utf-8").splitlines()) == len(answers)


def test_all_cells_answer_the_same_complaints(finished: FinishedExperiment) -> None:
    out, results = finished
    answered = [
        [(one.id, one.complaint, one.severity) for one in read_generations(out / r.answers_file)]
        for r in results.records
        if r.answers_file is not None
    ]
    assert len(answered) == 3
    assert answered[0] == answered[1] == answered[2]


def test_running_it_again_runs_nothing(
    finished: FinishedExperiment, plan: dict[str, Any], tmp_path: Path, started: list[str]
) -> None:
    out = shutil.copytree(finished[0], tmp_path / "copy")
    again = run_experiment(config_of(plan, conditions=["base", "uniform"], seeds=[1, 2]), out)
    assert again == finished[1]
    assert started == []


def test_an_experiment_grows_by_conditions_and_seeds(
    finished: FinishedExperiment, plan: dict[str, Any], tmp_path: Path, started: list[str]
) -> None:
    out = shutil.copytree(finished[0], tmp_path / "copy")
    config = config_of(plan, name="more", conditions=["uniform", "base", "strong"], seeds=[2, 1])
    results = run_experiment(config, out)
    assert started == ["strong, seed 2", "strong, seed 1"]
    before = {(r.condition, r.seed): r for r in finished[1].records}
    kept = [r for r in results.records if r.condition == "uniform"]
    assert [r.seed for r in kept] == [2, 1]
    assert all(r == before[r.condition, r.seed] for r in kept)
    assert results.name == "more"


def test_a_cell_whose_model_broke_fails_alone_and_is_tried_again(
    plan: dict[str, Any], model_folder: Path, tmp_path: Path, started: list[str]
) -> None:
    broken = shutil.copytree(model_folder, tmp_path / "broken")
    weights = broken / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    config = config_of(
        plan, models=[str(broken), str(model_folder)], conditions=["base", "uniform"]
    )
    listening = Listening()
    results = run_experiment(config, tmp_path / "out", listening)
    assert [r.status for r in results.records] == ["failed", "failed", "done", "done"]
    for record in results.records[:2]:
        assert record.error is not None
        assert "broken" in record.error
        assert record.scores is None
        assert any(f"{record.condition}" in text and "failed" in text for text in listening.said)
    assert load_results(tmp_path / "out") == results
    started.clear()
    weights.write_bytes(whole)
    again = run_experiment(config, tmp_path / "out")
    assert [r.status for r in again.records] == ["done"] * 4, [r.error for r in again.records]
    assert len(started) == 2
    assert again.records[2:] == results.records[2:]


def test_a_model_that_was_exchanged_is_not_passed_off_as_the_old_one(
    plan: dict[str, Any], model_folder: Path, tmp_path: Path, started: list[str]
) -> None:
    model = shutil.copytree(model_folder, tmp_path / "model")
    config = config_of(plan, models=[str(model)], conditions=["base"])
    run_experiment(config, tmp_path / "out")
    settings = json.loads((model / "config.json").read_text(encoding="utf-8"))
    settings["rms_norm_eps"] = 0.1
    (model / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    run_experiment(config, tmp_path / "out")
    assert started == ["base", "base"]


def test_data_that_changed_is_refused_before_a_cell_is_run(
    plan: dict[str, Any], tmp_path: Path, started: list[str]
) -> None:
    file = write_consultations(tmp_path / "data.jsonl", few_consultations())
    config = config_of(plan, conditions=["base"], data__sources=[str(file)])
    results = run_experiment(config, tmp_path / "out")
    write_consultations(file, few_consultations(27))
    with pytest.raises(FolderError, match="changed since"):
        run_experiment(config, tmp_path / "out")
    assert started == ["base"]
    assert load_results(tmp_path / "out") == results


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"training__learning_rate": 0.5}, "different: training"),
        ({"generation__max_new_tokens": 7, "prompt__template": "{complaint}:"}, "generation, pr"),
        ({"conditions": [{"uniform": {"alpha": 1, "beta": 1, "gamma": 3}}]}, "conditions.uniform"),
        ({"data__prepare__seed": 2}, "different: data"),
    ],
)
def test_another_experiment_in_the_folder_is_refused(
    change: dict[str, Any], named: str, finished: FinishedExperiment, plan: dict[str, Any]
) -> None:
    out = finished[0]
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    with pytest.raises(FolderError) as caught:
        run_experiment(config_of(plan, **{"seeds": [1, 2], **change}), out)
    assert named in str(caught.value)
    assert str(out) in str(caught.value)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before


def _holds_thesis(out: Path) -> Path:
    out.mkdir()
    (out / "thesis.txt").write_text("mine", encoding="utf-8")
    return out / "thesis.txt"


def _is_a_file(out: Path) -> Path:
    out.write_text("mine", encoding="utf-8")
    return out


def _holds_a_list(out: Path) -> Path:
    out.mkdir()
    (out / "experiment.json").write_text('["mine"]', encoding="utf-8")
    return out / "experiment.json"


@pytest.mark.parametrize("make", [_holds_thesis, _is_a_file, _holds_a_list])
def test_a_folder_of_something_else_is_refused_and_left_alone(
    make: Callable[[Path], Path], plan: dict[str, Any], tmp_path: Path
) -> None:
    kept = make(tmp_path / "out")
    before = kept.read_text(encoding="utf-8")
    with pytest.raises(FolderError, match="--out"):
        run_experiment(config_of(plan), tmp_path / "out")
    assert kept.read_text(encoding="utf-8") == before


def test_what_a_kill_in_the_first_write_leaves_is_no_obstacle(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".experiment.json.abc123.part").write_text("", encoding="utf-8")
    config = config_of(plan, models=["/nowhere/at/all"])
    with pytest.raises(ModelError):  # it gets as far as the model
        run_experiment(config, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"models": ["/nowhere/at/all"]}, ModelError, "/nowhere/at/all"),
        ({"evaluation__bertscore__encoder": "/no/encoder"}, ModelError, "/no/encoder"),
        ({"evaluation__bertscore__layer": 40}, ModelError, "layer"),
        ({"training__max_tokens": 64}, DataError, "training.long_responses=drop"),
    ],
)
def test_what_cannot_work_is_refused_before_a_cell_is_run(
    change: dict[str, Any],
    kind: type[Exception],
    said: str,
    plan: dict[str, Any],
    tmp_path: Path,
    started: list[str],
) -> None:
    with pytest.raises(kind) as caught:
        run_experiment(config_of(plan, **change), tmp_path / "out")
    assert said in str(caught.value)
    assert started == []
    if kind is DataError:
        assert "labelled.jsonl" in str(caught.value)


def test_long_responses_matter_only_to_training(
    plan: dict[str, Any], tmp_path: Path, started: list[str]
) -> None:
    config = config_of(plan, conditions=["base"], training__max_tokens=64)
    run_experiment(config, tmp_path / "out")
    assert started == ["base"]


def test_the_same_experiment_gives_the_same_results(
    finished: FinishedExperiment, plan: dict[str, Any], tmp_path: Path
) -> None:
    config = config_of(plan, conditions=["base", "uniform"], seeds=[1, 2])
    again = run_experiment(config, tmp_path / "out")
    assert without_times(again.model_dump(mode="json")) == without_times(
        finished[1].model_dump(mode="json")
    )


def test_what_is_said_holds_no_words_of_patients(plan: dict[str, Any], tmp_path: Path) -> None:
    listening = Listening()
    run_experiment(config_of(plan, conditions=["uniform"]), tmp_path / "out", listening)
    said = "\n".join(listening.said)
    assert "held-out loss" in said
    assert not any(0x0600 <= ord(character) <= 0x06FF for character in said)
