"""Ctrl-C and kill -9 in the middle of each stage lose nothing, and the same command goes on."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cli.commands import Fault, run_apart, run_here
from small_world import without_times
from tarjih.report.load import load_results

GOES_ON = "the same command goes on from there"
# Where each command is in the middle of its work.
MIDDLE = {
    "prepare": ["tarjih.data.prepare:find_groups", "tarjih.data.prepare:sha256_of_file"],
    "fit": [
        "tarjih.severity.linear:_fit_model",
        "tarjih.severity.cross_fitted:fit_calibrator",
        "tarjih.severity.cross_fitted:write_manifest",
    ],
    "score": ["tarjih.severity.scored_table:cells"],
    "generate": ["tarjih.generation.generate:_answer"],
    "evaluate": ["tarjih.evaluation.evaluate:chrf_statistic"],
    "train": [
        "tarjih.training.weighted_loss:SeverityWeightedLoss.training_step",
        "tarjih.training.train:write_run",
    ],
}
CASES = [(command, place) for command, places in MIDDLE.items() for place in places]


@pytest.fixture(scope="session")
def commands(
    tmp_path_factory: pytest.TempPathFactory,
    labelled_file: Path,
    annotator: Path,
    scored_file: Path,
    model_folder: Path,
    tiny_encoder: Path,
    plan: dict[str, Any],
) -> dict[str, list[object]]:
    """Each command without its --out."""
    folder = tmp_path_factory.mktemp("commands")
    config = {
        "model": str(model_folder),
        "train": str(scored_file),
        "validation": str(labelled_file),
        "out": "given by the test",
        "weighting": "strong",
        "loading": plan["loading"],
        "training": plan["training"],
    }
    (folder / "run.yaml").write_text(json.dumps(config), encoding="utf-8")
    answers = folder / "answers.jsonl"
    generation = ["max_new_tokens=4", "batch_size=8", "max_prompt_tokens=1024"]
    generate: list[object] = ["generate", model_folder, labelled_file, *generation]
    assert run_here(*generate, "--out", answers).code == 0
    encoder = [f"bertscore.encoder={tiny_encoder}", "bertscore.layer=1"]
    return {
        "prepare": ["prepare", labelled_file],
        "fit": ["severity", "fit", labelled_file, "folds=2", "min_complaints=1"],
        "score": ["severity", "score", annotator, labelled_file],
        "generate": generate,
        "evaluate": ["evaluate", answers, *encoder],
        "train": ["train", folder / "run.yaml"],
    }


def _with_out(command: list[object], out: Path) -> list[object]:
    return [*command, f"out={out}"] if command[0] == "train" else [*command, "--out", out]


def _outcome(out: Path) -> Any:
    """What must not depend on interruptions."""
    if out.suffix == ".parquet":
        return pq.read_table(out).to_pylist()
    if out.is_file():
        return out.read_text(encoding="utf-8")
    files = sorted(file for file in out.rglob("*") if file.is_file() and file.suffix != ".part")
    contents: dict[str, Any] = {}
    for file in files:
        if file.parent.name == "tensorboard":  # one file for each start, with times
            continue
        name = str(file.relative_to(out))
        data = file.read_bytes()
        contents[name] = without_times(json.loads(data)) if file.suffix == ".json" else data
    return contents


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, commands: dict[str, list[object]]
) -> dict[str, Any]:
    outcomes = {}
    for name, command in commands.items():
        out = _place(tmp_path_factory.mktemp("undisturbed"), name)
        done = run_here(*_with_out(command, out))
        assert done.code == 0, done.shown
        outcomes[name] = _outcome(out)
    return outcomes


def _place(folder: Path, command: str) -> Path:
    return folder / f"out{'.parquet' if command == 'score' else ''}"


@pytest.mark.parametrize(("name", "place"), CASES)
@pytest.mark.parametrize(
    "kind", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stopped_command_finishes_when_it_is_run_again(
    name: str,
    place: str,
    kind: signal.Signals,
    tmp_path: Path,
    commands: dict[str, list[object]],
    undisturbed: dict[str, Any],
) -> None:
    out = _place(tmp_path / "results", name)
    command = _with_out(commands[name], out)
    call = 2 if place.endswith(("_answer", "chrf_statistic", "training_step", "_fit_model")) else 1
    stopped = run_apart(tmp_path / "log", *command, fault=Fault(place, call, kind))
    if kind is signal.SIGKILL:
        assert stopped.code == -signal.SIGKILL
    else:
        assert stopped.code == 130, stopped.err
        assert GOES_ON in stopped.err
        assert "Traceback" not in stopped.err
    if name != "train":
        assert not out.exists()  # whole or absent
    if name == "fit":
        assert list(out.with_name("out.work").rglob("logits.safetensors"))  # a finished fold
    done = run_here(*command)
    assert done.code == 0, done.shown
    assert _outcome(out) == undisturbed[name]
    assert not out.with_name("out.work").exists()


@pytest.mark.parametrize("name", ["score", "generate", "evaluate"])
def test_an_earlier_result_outlives_a_kill(
    name: str, tmp_path: Path, commands: dict[str, list[object]]
) -> None:
    out = _place(tmp_path, name)
    out.write_text("made yesterday", encoding="utf-8")
    fault = Fault(MIDDLE[name][0], 1)
    stopped = run_apart(tmp_path / "log", *_with_out(commands[name], out), fault=fault)
    assert stopped.code == -signal.SIGKILL
    assert out.read_text(encoding="utf-8") == "made yesterday"


@pytest.mark.parametrize(
    "step", [1, *(pytest.param(step, marks=pytest.mark.slow) for step in (8, 11, 13, 16))]
)
def test_an_experiment_killed_while_writing_any_file_comes_to_the_same_results(
    step: int, tmp_path: Path, plan_file: Path, results_of_plan: dict[str, Any]
) -> None:
    """Each start is killed at its `step`-th write, until one start has fewer writes than that.

    The prepared folder appears whole or not at all, and takes eight writes: a start that is killed
    sooner than that, each time, gets nowhere. So with a step of 1 the kill comes once.
    """
    out = tmp_path / "results"
    kills = 0
    while True:
        fault = None if step == 1 and kills else Fault("tarjih.files:_flush", step)
        ended = run_apart(tmp_path / "log", "run", plan_file, "--out", out, fault=fault)
        if ended.code != -signal.SIGKILL:
            break
        kills += 1
        assert kills < 60, "it does not get on"
    assert ended.code == 0, ended.err
    assert kills >= 1
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert without_times(results) == results_of_plan
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    "place",
    [
        "tarjih.training.weighted_loss:SeverityWeightedLoss.training_step",
        *(
            pytest.param(place, marks=pytest.mark.slow)
            for place in (
                "tarjih.severity.cross_fitted:fit_calibrator",
                "tarjih.generation.generate:_answer",
                "tarjih.evaluation.evaluate:chrf_statistic",
                "tarjih.report.html:write_text",
            )
        ),
    ],
)
def test_ctrl_c_in_an_experiment_says_that_it_goes_on_and_it_does(
    place: str, tmp_path: Path, plan_file: Path, results_of_plan: dict[str, Any]
) -> None:
    out = tmp_path / "results"
    fault = Fault(place, 1, signal.SIGINT)
    stopped = run_apart(tmp_path / "log", "run", plan_file, "--out", out, fault=fault)
    assert stopped.code == 130, stopped.err
    assert GOES_ON in stopped.err
    done = run_here("run", plan_file, "--out", out)
    assert done.code == 0, done.shown
    assert without_times(load_results(out).model_dump(mode="json")) == results_of_plan


@pytest.fixture(scope="session")
def results_of_plan(tmp_path_factory: pytest.TempPathFactory, plan_file: Path) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("plan") / "results"
    done = run_here("run", plan_file, "--out", out)
    assert done.code == 0, done.shown
    results: dict[str, Any] = without_times(load_results(out).model_dump(mode="json"))
    return results
