"""Each command does what it promises, on real text and a model of no consequence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cli.commands import run_here
from small_world import few_consultations, write_consultations, write_plan
from tarjih import __version__
from tarjih.evaluation.generations import read_generations
from tarjih.records import PROBABILITY_COLUMNS, SEVERITIES
from tarjih.report.load import load_results

ARABIC = re.compile("[\u0600-\u06ff]")


def _columns(text: str) -> int:
    """The longest line that a terminal would have to break; paths are never broken."""
    lines = [line for line in text.splitlines() if "/" not in line]
    return max(map(len, lines), default=0)


def test_prepare_writes_three_splits_and_says_what_it_found(tmp_path: Path) -> None:
    twice = [*few_consultations(), few_consultations()[0]]
    file = write_consultations(tmp_path / "twice.jsonl", twice)
    done = run_here("prepare", file, "--out", tmp_path / "out", "--seed", 3)
    assert done.code == 0, done.shown
    rows = [
        row
        for split in ("train", "validation", "test")
        for row in pq.read_table(tmp_path / "out" / f"{split}.parquet").to_pylist()
    ]
    assert sorted(row["complaint"] for row in rows) == sorted(
        one.complaint for one in few_consultations()
    )
    assert "twice.jsonl: 31 rows" in done.out
    assert "  columns: id = id, complaint = complaint, response = response," in done.out
    assert re.search(r"train +│ +24 │ labelled +│ +8 │ +8 │ +8 │", done.out)
    assert "Left out: 1 rows\n  exact duplicate: 1" in done.out
    assert _columns(done.out) <= 80
    again = run_here("prepare", file, "--out", tmp_path / "out", "--seed", 3)
    assert again.code == 0
    assert "nothing was done" in again.out


def test_prepare_takes_columns_labels_and_encodings(tmp_path: Path) -> None:
    severities = {"non_critical": "mild", "neutral": "so-so", "critical": "urgent"}
    lines = [
        f"{one.complaint.replace(',', ' ')},{one.response.replace(',', ' ')},"
        f"{severities[str(one.labelled_severity)]}"
        for one in few_consultations()
    ]
    text = "\n".join(["asked,told,how bad", *lines])
    file = tmp_path / "sheet.csv"
    file.write_bytes(text.encode("cp1256", errors="ignore"))
    told = [
        *("--column", "complaint=asked", "--column", "response=told"),
        *("--column", "severity=how bad", "--encoding", "cp1256"),
        *("--label", "mild=non_critical", "--label", "so-so=neutral", "--label", "urgent=critical"),
    ]
    done = run_here("prepare", file, "--out", tmp_path / "out", *told)
    assert done.code == 0, done.shown
    labels = [
        row["labelled_severity"]
        for row in pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    ]
    assert set(labels) == set(map(str, SEVERITIES))


def test_bad_values_can_be_set_aside(tmp_path: Path) -> None:
    file = write_consultations(tmp_path / "data.jsonl", few_consultations())
    with file.open("a", encoding="utf-8") as more:
        more.write('{"id": "bad", "complaint": "x", "response": "y", "severity": "dire"}\n')
    done = run_here("prepare", file, "--out", tmp_path / "out", "--reject-bad-values")
    assert done.code == 0, done.shown
    assert "unknown severity: 1" in done.out
    reject = json.loads((tmp_path / "out" / "rejects.jsonl").read_text(encoding="utf-8"))
    assert (reject["id"], reject["reason"]) == ("bad", "unknown severity")


def test_severity_fit_measures_itself_out_of_fold(labelled_file: Path, tmp_path: Path) -> None:
    done = run_here(
        *("severity", "fit", labelled_file, "--kind", "linear", "--out", tmp_path / "model"),
        *("folds=2", "min_complaints=1"),
    )
    assert done.code == 0, done.shown
    assert re.search(r"rows +30\n +of them out of fold +30\naccuracy +0\.\d{4}\n", done.out)
    assert "called critical" in done.out
    assert _columns(done.out) <= 80
    manifest = json.loads((tmp_path / "model" / "annotator.json").read_text(encoding="utf-8"))
    assert manifest["settings"]["folds"] == 2
    assert run_here("severity", "evaluate", tmp_path / "model", labelled_file).code == 0


def test_severity_fit_writes_cards_that_may_be_edited(labelled_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    done = run_here(
        *("severity", "fit", labelled_file, "--kind", "lexicon", "--out", folder),
        *("--licence", "CC BY 4.0", "folds=2"),
    )
    assert done.code == 0, done.shown
    model, data = ((folder / name).read_text(encoding="utf-8") for name in ("README.md", "DATA.md"))
    assert "of kind lexicon" in model
    assert "CC BY 4.0" in data
    assert not ARABIC.search(model + data)
    (folder / "README.md").write_text("edited", encoding="utf-8")
    assert run_here("severity", "evaluate", folder, labelled_file).code == 0


def test_severity_score_keeps_every_row_in_order(labelled_file: Path, scored_file: Path) -> None:
    given = [json.loads(line) for line in labelled_file.read_text(encoding="utf-8").splitlines()]
    rows = pq.read_table(scored_file).to_pylist()
    for name in ("id", "complaint", "response", "specialty"):
        assert [row[name] for row in rows] == [row[name] for row in given]
    assert [row["labelled_severity"] for row in rows] == [row["severity"] for row in given]
    for row in rows:
        values = [row[name] for name in PROBABILITY_COLUMNS]
        assert sum(values) == pytest.approx(1.0)
        assert row["severity"] == SEVERITIES[values.index(max(values))]


def test_severity_score_tells_of_rows_it_was_fitted_on(
    annotator: Path, labelled_file: Path, tmp_path: Path
) -> None:
    done = run_here(
        "severity", "score", annotator, labelled_file, "--out", tmp_path / "out.parquet"
    )
    assert done.code == 0, done.shown
    assert "30 of them the annotator was fitted on" in done.out
    assert _columns(done.shown) <= 80


def test_severity_evaluate(annotator: Path, labelled_file: Path) -> None:
    done = run_here("severity", "evaluate", annotator, labelled_file)
    assert done.code == 0, done.shown
    assert re.search(r"^rows +30$", done.out, re.MULTILINE)
    assert re.search(r"critical recall +0\.\d{4}", done.out)


def test_train_generate_evaluate(
    scored_file: Path,
    labelled_file: Path,
    plan: dict[str, Any],
    tiny_encoder: Path,
    tmp_path: Path,
) -> None:
    config = {
        "model": plan["models"][0],
        "train": str(scored_file),
        "validation": str(labelled_file),
        "out": str(tmp_path / "not this one"),
        "weighting": "balanced",
        "loading": plan["loading"],
        "training": plan["training"],
    }
    file = write_plan(tmp_path / "train.yaml", config)
    out = tmp_path / "run"
    trained = run_here("train", file, f"out={out}", "training.max_steps=2", "weighting=strong")
    assert trained.code == 0, trained.shown
    assert "2 steps on 30 examples" in trained.out
    assert re.search(r"validation loss \d\.\d{3} -> \d\.\d{3} nats a token", trained.out)
    assert not (tmp_path / "not this one").exists()
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert (run["training"]["steps"], run["weighting"]["gamma"]) == (2, 1.75)

    answers = tmp_path / "answers.jsonl"
    settings = ["max_new_tokens=5", "max_prompt_tokens=1024"]
    answered = run_here("generate", out, labelled_file, "--out", answers, *settings)
    assert answered.code == 0, answered.shown
    assert re.search(r"30 answers, \d+ of which ended by themselves", answered.out)
    generations = read_generations(answers)
    assert [one.id for one in generations] == [one.id for one in few_consultations()]
    assert max(one.new_tokens for one in generations) <= 5

    scores_file = tmp_path / "scores.json"
    encoder = [f"bertscore.encoder={tiny_encoder}", "bertscore.layer=1"]
    scored = run_here("evaluate", answers, *encoder, "--out", scores_file)
    assert scored.code == 0, scored.shown
    scores = json.loads(scores_file.read_text(encoding="utf-8"))
    assert scores["overall"]["examples"] == 30
    assert {name: one["examples"] for name, one in scores["by_severity"].items()} == {
        str(severity): 10 for severity in SEVERITIES
    }
    assert f"{scores['overall']['bertscore_f1']:.2f}" in scored.out
    assert _columns(scored.out.split("bertscore_f1:")[0]) <= 80
    for done in (trained, answered, scored):
        assert not ARABIC.search(done.shown)


def test_run_and_report(plan_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    done = run_here("run", plan_file, "--out", out, "conditions=[base, mild]", "name=A name")
    assert done.code == 0, done.shown
    results = load_results(out)
    assert results.name == "A name"
    assert [(r.condition, r.status) for r in results.records] == [
        ("base", "done"),
        ("mild", "done"),
    ]
    assert "A name: 2 cells" in done.err
    assert str(out / "results.json") in done.out
    assert not ARABIC.search(done.shown)
    assert _columns(done.out) <= 80
    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    again = run_here("report", out)
    assert again.code == 0, again.shown
    assert str(out / "report.html") in again.out
    assert (out / "report.html").read_bytes() == page


def test_run_ends_with_1_when_a_cell_failed(
    plan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the machine is tired")

    monkeypatch.setattr("tarjih.experiment.cells.train", fail)
    out = tmp_path / "results"
    done = run_here("run", plan_file, "--out", out, "conditions=[base, uniform]")
    assert done.code == 1
    assert "RuntimeError: the machine is tired" in done.err
    assert "1 of 2 cells failed; rerun to try them again" in done.err
    assert [record.status for record in load_results(out).records] == ["done", "failed"]
    monkeypatch.undo()
    again = run_here("run", plan_file, "--out", out, "conditions=[base, uniform]")
    assert again.code == 0, again.shown


@pytest.mark.parametrize(
    ("kind", "line"),
    [("experiment", "training.max_steps: null"), ("run", "seed: 1"), ("run", "model: required")],
)
def test_settings_lists_every_key_on_lines_of_its_own(kind: str, line: str) -> None:
    done = run_here("settings", kind)
    assert done.code == 0
    assert line in done.out.splitlines()
    assert "\n    optimizer steps after which to stop" in done.out
    assert _columns(done.out) <= 80


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("comparison", "nested: false"),
        ("linear", "longest_ngram: 5"),
        ("lexicon", "kind: lexicon"),
        ("encoder", "model: packaged:e5-small"),
        ("ensemble", "combination: stacking"),
    ],
)
def test_settings_lists_those_of_annotators_too(kind: str, line: str) -> None:
    done = run_here("settings", kind)
    assert done.code == 0
    assert line in done.out.splitlines()
    assert "\n    folds" in done.out
    assert _columns(done.out) <= 80


def test_version_and_help() -> None:
    assert run_here("--version").out == f"tarjih {__version__}\n"
    for command in (
        "prepare",
        "severity",
        "preview",
        "train",
        "generate",
        "evaluate",
        "run",
        "report",
    ):
        assert command in run_here("--help").out
        assert run_here(command, "--help").code == 0


def test_as_a_program_it_says_what_is_wrong_and_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tarjih", "prepare", "/no/such.csv", "--out", "/tmp/never"],  # noqa: S108
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "Error: /no/such.csv: there is no such file\nWhat to do: check the path\n"
    )
