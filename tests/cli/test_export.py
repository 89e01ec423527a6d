"""`tarjih severity export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.commands import run_here
from small_world import write_plan


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_an_exported_file_goes_straight_into_training(
    scored_file: Path, plan: dict[str, Any], tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"paper{suffix}"
    done = run_here("severity", "export", scored_file, "--out", out)
    assert done.code == 0, done.shown
    assert "30 rows" in done.out
    config = {
        "model": plan["models"][0],
        "train": str(out),
        "out": str(tmp_path / "run"),
        "weighting": "balanced",
        "loading": plan["loading"],
        "training": {**plan["training"], "max_steps": 1},
    }
    trained = run_here("train", write_plan(tmp_path / "train.yaml", config))
    assert trained.code == 0, trained.shown
    assert "1 steps on 30 examples" in trained.out


def test_what_cannot_be_exported_is_said(labelled_file: Path, tmp_path: Path) -> None:
    done = run_here("severity", "export", labelled_file, "--out", tmp_path / "a.csv")
    assert done.code == 2
    assert "has no severity probabilities" in done.err
    assert "tarjih severity score" in done.err
    assert list(tmp_path.iterdir()) == []


def test_what_is_read_is_not_overwritten(scored_file: Path, tmp_path: Path) -> None:
    paper = tmp_path / "paper.csv"
    assert run_here("severity", "export", scored_file, "--out", paper).code == 0
    before = paper.read_bytes()
    done = run_here("severity", "export", paper, "--out", paper)
    assert (done.code, "is not overwritten" in done.err) == (2, True)
    wrong = run_here("severity", "export", paper, "--out", tmp_path / "paper.parquet")
    assert (wrong.code, "end the name in .xlsx or .csv" in wrong.err) == (2, True)
    assert paper.read_bytes() == before
    assert run_here("severity", "export", paper, "--out", tmp_path / "again.csv").code == 0
    assert (tmp_path / "again.csv").read_bytes() == before
