"""`tarjih severity compare`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.commands import run_here
from fake_annotator import fake_consultations, register_fakes, without_plots
from small_world import write_consultations

FEW = ("--folds", 2, "resamples=50")


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return register_fakes(monkeypatch)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return write_consultations(tmp_path / "labelled.jsonl", fake_consultations(60))


def test_compares_prints_and_writes(
    fits: list[str], labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "comparison"
    done = run_here("severity", "compare", labelled, "--out", out, *FEW)
    assert done.code == 0, done.shown
    assert re.search(r"^ +good +poor$", done.out, re.MULTILINE)
    assert re.search(r"^Accuracy +0\.\d{3} +0\.\d{3}$", done.out, re.MULTILINE)
    assert "Difference to good" in done.out
    assert "at most 10 %" in done.out
    assert max(len(line) for line in done.out.splitlines() if "/" not in line) <= 80
    assert f"Written to {out}" in done.out
    found = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert found["format"] == "tarjih.comparison/1"
    assert found["settings"]["folds"] == 2
    assert (out / "comparison.html").is_file()
    assert (out / "reliability-good.png").is_file()
    assert len(fits) == 2 * 3
    without_plots(monkeypatch)
    again = run_here("severity", "compare", labelled, "--out", out, *FEW)
    assert again.code == 0
    assert len(fits) == 2 * 3
    assert "taken from an earlier start" in again.err
    assert again.out == done.out


def test_annotators_are_kinds_and_files(
    fits: list[str], labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_plots(monkeypatch)
    weaker = tmp_path / "weaker.yaml"
    weaker.write_text("kind: good\nskill: 0.2\n", encoding="utf-8")
    chosen = ["--annotator", "poor", "--annotator", weaker, "--seeds", 2]
    done = run_here("severity", "compare", labelled, "--out", tmp_path / "out", *FEW, *chosen)
    assert done.code == 0, done.shown
    found = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in found["annotators"]] == ["poor", "weaker"]
    assert found["annotators"][1]["settings"]["skill"] == 0.2
    assert len(found["annotators"][1]["by_seed"]) == 2


def test_what_patients_wrote_is_nowhere(
    fits: list[str], labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_plots(monkeypatch)
    out = tmp_path / "out"
    done = run_here("severity", "compare", labelled, "--out", out, *FEW)
    words = [word for one in fake_consultations(60) for word in one.complaint.split()[:2]]
    shown = done.shown + "".join(
        file.read_bytes().decode("utf-8", "ignore") for file in out.rglob("*") if file.is_file()
    )
    assert not any(word in shown for word in words)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--annotator", "best"], "there is no annotator of kind 'best'"),
        (["--annotator", "no/such.yaml"], "there is no such settings file"),
        (["--annotator", "good", "--annotator", "good"], "two annotators would be called 'good'"),
        (["fold=3"], "did you mean 'folds'"),
        (["--folds", 1], "folds"),
        (["costs=[[0,1,1],[1,0,1]]"], "costs"),
        (["--folds", 50], "fewer than the 50 folds"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[object], said: str, fits: list[str], labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run_here("severity", "compare", labelled, "--out", out, "resamples=50", *arguments)
    assert done.code == 2, done.shown
    assert said in done.err
    assert not out.exists()
    assert fits == []


def test_a_file_without_labels_and_a_folder_of_something_else(
    fits: list[str], labelled: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.csv"
    bare.write_text("complaint,response\nx,y\n", encoding="utf-8")
    done = run_here("severity", "compare", bare, "--out", tmp_path / "out")
    assert done.code == 2
    assert "bare.csv" in done.err
    done = run_here("severity", "compare", labelled, "--out", tmp_path, *FEW)
    assert done.code == 2
    assert "holds no comparison" in done.err
