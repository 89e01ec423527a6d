"""`tarjih severity` with an annotator that reads, or was taught by, the doctors' responses."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.commands import run_here
from tarjih.records import SEVERITIES

ACHE = "\u0648\u062c\u0639"  # waja': ache
FEW = ("folds=2", "min_complaints=1")


def write_rows(file: Path, rows: list[dict[str, str]]) -> Path:
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["north", "south", "east", "west", "spring", "summer", "autumn", "winter"]
    rows = [
        {
            "complaint": f"{ACHE} {word} {word * 2} {place * 7919 + number}",
            "response": f"advice{place}",
            "severity": str(severity),
        }
        for place, severity in enumerate(SEVERITIES)
        for number, word in enumerate(words)
    ]
    return write_rows(tmp_path_factory.mktemp("data") / "labelled.jsonl", rows)


def test_pairs_are_scored_by_what_the_doctor_wrote(labelled: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "scored.parquet"
    done = run_here("severity", "fit", labelled, "--out", model, "responses=read", *FEW)
    assert done.code == 0, done.shown
    new = [{"complaint": f"{ACHE} new", "response": f"advice{place}"} for place in range(3)]
    done = run_here(
        "severity", "score", model, write_rows(tmp_path / "new.jsonl", new), "--out", out
    )
    assert done.code == 0, done.shown
    assert pq.read_table(out).column("severity").to_pylist() == [str(one) for one in SEVERITIES]
    done = run_here("severity", "evaluate", model, labelled)
    assert done.code == 0, done.shown


def test_complaints_alone_need_an_annotator_that_was_taught(labelled: Path, tmp_path: Path) -> None:
    lone = write_rows(tmp_path / "lone.jsonl", [{"complaint": f"{ACHE} new"}])
    codes = []
    for responses in ("read", "teach"):
        model = tmp_path / responses
        done = run_here("severity", "fit", labelled, "--out", model, f"responses={responses}", *FEW)
        assert done.code == 0, done.shown
        done = run_here(
            "severity", "score", model, lone, "--out", tmp_path / f"{responses}.parquet"
        )
        codes.append(done.code)
        assert "Traceback" not in done.shown
        assert done.code == 0 or "response" in done.shown
    assert codes == [2, 0]


def test_labelled_rows_without_responses_cannot_teach(labelled: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in labelled.read_text().splitlines()]
    rows[4]["response"] = ""
    file = write_rows(tmp_path / "some.jsonl", rows)
    done = run_here("severity", "fit", file, "--out", tmp_path / "model", "responses=teach", *FEW)
    assert done.code == 2
    assert "row 5" in done.shown
    assert str(file) in done.shown.replace("\n", "")
    assert not (tmp_path / "model").exists()
