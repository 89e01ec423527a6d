"""Bad input ends with code 2, the file's name and a remedy; no traceback, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Finished, run_here
from small_world import few_consultations, write_consultations, write_plan

ACHE = "\u0648\u062c\u0639 \u0633\u0631\u064a"  # waja' sirri: a secret ache
ROW = f'"{ACHE}","{ACHE}"'
OTHER = f'"{ACHE} 2","{ACHE}"'
SCORED = "complaint,response,p_non_critical,p_neutral,p_critical\n"

# The contents of a CSV file, and what the message must say of it.
BAD_FILES: dict[str, tuple[bytes, list[str]]] = {
    "missing column": (
        f"foo,bar\n{ROW}\n".encode(),
        ["found no column for the complaint", "'foo', 'bar'"],
    ),
    "another encoding": (
        f"complaint,response\n{ROW}\n".encode("cp1256"),
        ["is not utf-8 text"],
    ),
    "empty": (b"", ["the file is empty"]),
    "no rows": (b"complaint,response,severity\n", ["has a header but no rows"]),
    "unknown label": (
        f"complaint,response,severity\n{ROW},critical\n{OTHER},dire\n".encode(),
        ["row 2", "'severity'", "'dire'"],
    ),
    "sum is not 1": (
        f"{SCORED}{ROW},0.5,0.3,0.1\n".encode(),
        ["row 1", "p_non_critical", "sum to 0.9"],
    ),
    "NaN": (f"{SCORED}{ROW},0.5,0.2,0.3\n{OTHER},nan,0.5,0.5\n".encode(), ["row 2", "nan"]),
    "damaged row": (f"complaint,response\n{ROW}\n{ROW},3,4\n".encode(), ["row 2", "4 fields"]),
    "open quotation": (b'complaint,response\n"a,b\n', ["row 1", "quotation mark"]),
}
IMPROBABLE = {"sum is not 1", "NaN"}
UNLABELLED = IMPROBABLE | {"damaged row"}


@pytest.fixture
def bad_file(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        file = tmp_path / "given.csv"
        file.write_bytes(BAD_FILES[name][0])
        return file

    return make


def _refused(done: Finished, *said: object) -> None:
    assert done.code == 2, done.shown
    assert "Traceback" not in done.shown
    assert "Error: " in done.err
    assert "\nWhat to do: " in done.err
    for text in said:
        assert str(text) in done.err
    assert ACHE not in done.shown


def _train_config(file: Path, folder: Path, plan: dict[str, Any], **more: object) -> Path:
    config = {
        "model": plan["models"][0],
        "train": str(file),
        "out": str(folder / "run"),
        "weighting": "strong",
        "loading": plan["loading"],
        "training": plan["training"],
        **more,
    }
    return write_plan(folder / "train.yaml", config)


@pytest.mark.parametrize("name", BAD_FILES)
def test_prepare(name: str, bad_file: Callable[[str], Path], tmp_path: Path) -> None:
    file = bad_file(name)
    done = run_here("prepare", file, "--out", tmp_path / "out")
    _refused(done, file, *BAD_FILES[name][1])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", BAD_FILES)
def test_severity_fit(name: str, bad_file: Callable[[str], Path], tmp_path: Path) -> None:
    file = bad_file(name)
    done = run_here("severity", "fit", file, "--out", tmp_path / "out")
    without = name in UNLABELLED
    _refused(done, file, *(["no column with severity labels"] if without else BAD_FILES[name][1]))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", sorted(set(BAD_FILES) - IMPROBABLE - {"unknown label", "no rows"}))
def test_severity_score(
    name: str, bad_file: Callable[[str], Path], annotator: Path, tmp_path: Path
) -> None:
    file = bad_file(name)
    done = run_here("severity", "score", annotator, file, "--out", tmp_path / "out.parquet")
    _refused(done, file, *BAD_FILES[name][1])
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("name", sorted(set(BAD_FILES) - UNLABELLED))
def test_severity_evaluate(name: str, bad_file: Callable[[str], Path], annotator: Path) -> None:
    file = bad_file(name)
    _refused(run_here("severity", "evaluate", annotator, file), file, *BAD_FILES[name][1])


@pytest.mark.parametrize("name", BAD_FILES)
def test_train(
    name: str, bad_file: Callable[[str], Path], plan: dict[str, Any], tmp_path: Path
) -> None:
    file = bad_file(name)
    done = run_here("train", _train_config(file, tmp_path, plan))
    without = name in ("unknown label", "damaged row")
    _refused(done, file, *(["no severity probabilities"] if without else BAD_FILES[name][1]))
    assert "--" not in done.err  # `tarjih train` has no options to name in a remedy
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", BAD_FILES)
def test_generate(
    name: str, bad_file: Callable[[str], Path], model_folder: Path, tmp_path: Path
) -> None:
    file = bad_file(name)
    out = tmp_path / "out.jsonl"
    out.write_text("made yesterday", encoding="utf-8")
    _refused(run_here("generate", model_folder, file, "--out", out), file, *BAD_FILES[name][1])
    assert out.read_text(encoding="utf-8") == "made yesterday"


@pytest.mark.parametrize("name", ["missing column", "another encoding", "empty", "NaN"])
def test_run(name: str, bad_file: Callable[[str], Path], plan_file: Path, tmp_path: Path) -> None:
    file = bad_file(name)
    done = run_here("run", plan_file, f"data.sources=[{file}]", "--out", tmp_path / "out")
    _refused(done, file, *BAD_FILES[name][1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no answers"),
        ("{not json\n", "row 1"),
        ('{"id": "1"}\n', "column 'answer'"),
        ('["a"]\n', "row 1"),
    ],
)
def test_evaluate(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(text, encoding="utf-8")
    _refused(run_here("evaluate", file, "--out", tmp_path / "scores.json"), file, said)
    assert not (tmp_path / "scores.json").exists()


ABSENT: list[tuple[list[str], str]] = [
    (["prepare", "/no/such.csv", "--out", "OUT"], "/no/such.csv"),
    (["prepare", "bundled:consultation", "--out", "OUT"], "bundled:consultations"),
    (["severity", "fit", "/no/such.xlsx", "--out", "OUT"], "/no/such.xlsx"),
    (["severity", "fit", "bundled:consultations", "--kind", "deep", "--out", "OUT"], "linear"),
    (["severity", "fit", "bundled:consultations", "--out", "OUT", "fold=3"], "'folds'"),
    (["severity", "score", "/no/model", "bundled:consultations", "--out", "OUT"], ".parquet"),
    (["severity", "score", "/no/model", "x.csv", "--out", "OUT.parquet"], "/no/model"),
    (["severity", "evaluate", "/no/model", "bundled:consultations"], "/no/model"),
    (["train", "/no/such.yaml"], "/no/such.yaml"),
    (["generate", "/no/model", "bundled:consultations", "--out", "OUT"], "/no/model"),
    (["generate", "packaged:gemma", "bundled:consultations", "--out", "OUT"], "gemma-3-270m"),
    (["evaluate", "/no/such.jsonl"], "/no/such.jsonl"),
    (["evaluate", "x.jsonl", "bertscor.layer=1"], "bertscore"),
    (["run", "/no/such.yaml", "--out", "OUT"], "/no/such.yaml"),
    (["run", "CONFIG", "--out", "OUT", "seed=1", "modles=[x]"], "'models'"),
    (["run", "CONFIG", "--out", "OUT", "training.epochs"], "key=value"),
    (["run", "CONFIG", "--out", "OUT", "models=[/no/model]"], "/no/model"),
    (["report", "/no/folder"], "/no/folder"),
    (["prepare", "bundled:consultations", "--out", "OUT", "--column", "complaint"], "--column"),
    (["prepare", "bundled:consultations", "--out", "OUT", "--label", "x=y"], "label"),
    (["prepare", "bundled:consultations", "--out", "OUT", "--test", "1.5"], "test_fraction"),
]


@pytest.mark.parametrize(("arguments", "said"), ABSENT)
def test_what_is_not_there_is_named(
    arguments: list[str], said: str, tmp_path: Path, plan_file: Path
) -> None:
    places = {"OUT": tmp_path / "out", "OUT.parquet": tmp_path / "out.parquet"}
    filled = [{**places, "CONFIG": plan_file}.get(text, text) for text in arguments]
    _refused(run_here(*filled), said)


def test_a_response_longer_than_the_limit(
    scored_file: Path, plan: dict[str, Any], plan_file: Path, tmp_path: Path
) -> None:
    config = _train_config(scored_file, tmp_path, plan)
    done = run_here("train", config, "training.max_tokens=64")
    _refused(done, scored_file, "longer than max_tokens = 64", "long_responses=drop", "msa-")
    source = plan["data"]["sources"][0]
    done = run_here("run", plan_file, "--out", tmp_path / "out", "training.max_tokens=64")
    _refused(done, source, "longer than max_tokens = 64", "long_responses=drop")
    assert not (tmp_path / "out" / "cells").exists()


@pytest.mark.parametrize("command", ["train", "generate", "run"])
def test_a_model_folder_without_a_tokenizer(
    command: str,
    model_folder: Path,
    scored_file: Path,
    plan: dict[str, Any],
    plan_file: Path,
    tmp_path: Path,
) -> None:
    bare = shutil.copytree(
        model_folder, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*")
    )
    commands: dict[str, list[object]] = {
        "train": ["train", _train_config(scored_file, tmp_path, plan, model=str(bare))],
        "generate": ["generate", bare, scored_file, "--out", tmp_path / "out.jsonl"],
        "run": ["run", plan_file, "--out", tmp_path / "out", f"models=[{bare}]"],
    }
    _refused(run_here(*commands[command]), bare, "has no tokenizer")
    assert not (tmp_path / "out.jsonl").exists()


def test_folders_of_something_else_are_left_alone(
    labelled_file: Path,
    scored_file: Path,
    plan: dict[str, Any],
    plan_file: Path,
    annotator: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine", encoding="utf-8")
    commands: list[list[object]] = [
        ["prepare", labelled_file, "--out", folder],
        ["prepare", labelled_file, "--out", folder, "--overwrite"],
        ["severity", "fit", labelled_file, "--out", folder],
        ["train", _train_config(scored_file, tmp_path, plan, out=str(folder))],
        ["run", plan_file, "--out", folder],
        ["report", folder],
        ["generate", plan["models"][0], labelled_file, "--out", folder],
        ["evaluate", labelled_file, "--out", folder],
    ]
    for command in commands:
        _refused(run_here(*command), folder)
    (tmp_path / "out.parquet").mkdir()
    score = ["severity", "score", annotator, labelled_file, "--out", tmp_path / "out.parquet"]
    _refused(run_here(*score), tmp_path / "out.parquet")
    assert [file.read_text(encoding="utf-8") for file in folder.iterdir()] == ["mine"]


def test_another_preparation_is_refused_until_it_may_be_replaced(
    labelled_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "prepared"
    assert run_here("prepare", labelled_file, "--out", out).code == 0
    before = (out / "train.parquet").read_bytes()
    _refused(run_here("prepare", labelled_file, "--out", out, "--seed", 5), out, "--overwrite")
    assert (out / "train.parquet").read_bytes() == before
    replaced = run_here("prepare", labelled_file, "--out", out, "--seed", 5, "--overwrite")
    assert replaced.code == 0, replaced.shown
    assert (out / "train.parquet").read_bytes() != before


def test_another_training_run_is_refused(
    scored_file: Path, plan: dict[str, Any], tmp_path: Path
) -> None:
    config = _train_config(scored_file, tmp_path, plan)
    assert run_here("train", config, "training.max_steps=1").code == 0
    before = (tmp_path / "run" / "run.json").read_bytes()
    _refused(run_here("train", config, "seed=2"), tmp_path / "run", "different: ", "seed")
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_command_does_not_overwrite_what_it_reads(
    model_folder: Path, annotator: Path, scored_file: Path, tmp_path: Path
) -> None:
    data = write_consultations(tmp_path / "data.jsonl", few_consultations())
    scored = Path(shutil.copy(scored_file, tmp_path / "data.parquet"))
    before = (data.read_bytes(), scored.read_bytes())
    indirect = tmp_path / "." / "data.jsonl"
    _refused(run_here("generate", model_folder, data, "--out", indirect), "what the command reads")
    _refused(run_here("evaluate", data, "--out", data), "what the command reads")
    _refused(run_here("severity", "score", annotator, scored, "--out", scored), "command reads")
    assert (data.read_bytes(), scored.read_bytes()) == before


def test_an_experiment_s_folder_is_not_another_s(
    plan_file: Path, tmp_path: Path, plan: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    first = run_here("run", plan_file, "--out", out, "conditions=[base]")
    assert first.code == 0, first.shown
    before = (out / "results.json").read_bytes()
    done = run_here("run", plan_file, "--out", out, "conditions=[base]", "training.max_steps=9")
    _refused(done, out, "another experiment", "training")
    assert (out / "results.json").read_bytes() == before


def test_a_damaged_results_file(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"format": "tarjih.results/1"}), encoding="utf-8")
    _refused(run_here("report", tmp_path), file)
    file.write_text("{", encoding="utf-8")
    _refused(run_here("report", tmp_path), file)
