"""Labels that parts of a file were given by another rule: who learns or measures is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli.commands import run_here
from fake_annotator import fake_consultations, register_fakes, without_plots
from small_world import write_consultations
from tarjih.records import SEVERITIES, Consultation, Severity

NON_CRITICAL, NEUTRAL, CRITICAL = SEVERITIES
ROWS = "rows 121-210 (90 rows): none is non-critical, as 33% of the rows outside are"
FEW = ("folds=2", "min_complaints=1", "analyzer=word", "shortest_ngram=1", "longest_ngram=1")


def relabelled() -> list[Consultation]:
    """Every severity in turn in rows 1 to 120 and 211 to 330, none non-critical between."""
    mixed = [CRITICAL, NEUTRAL, NON_CRITICAL] * 40
    labels: list[Severity] = [*mixed, *[NEUTRAL, CRITICAL] * 45, *mixed[::-1]]
    return [
        replace(one, labelled_severity=label)
        for one, label in zip(fake_consultations(len(labels)), labels, strict=True)
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_consultations(tmp_path / "relabelled.jsonl", relabelled())


def test_fit_and_evaluate_tell_which_rows(file: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    done = run_here("severity", "fit", file, "--kind", "linear", "--out", model, *FEW)
    assert done.code == 0, done.shown
    assert done.err.count("Warning: ") == 1
    assert ROWS in done.err
    assert "What to do: copy such rows" in done.err
    assert not any(one.complaint.split()[0] in done.shown for one in relabelled())
    done = run_here("severity", "evaluate", model, file)
    assert done.code == 0, done.shown
    assert ROWS in done.err
    assert "Warning" not in done.out
    mixed = write_consultations(tmp_path / "mixed.jsonl", relabelled()[:120])
    done = run_here("severity", "evaluate", model, mixed)
    assert done.code == 0, done.shown
    assert done.err == ""


def test_compare_tells_which_rows(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_fakes(monkeypatch)
    without_plots(monkeypatch)
    few = ("--folds", 2, "resamples=50", "--annotator", "good")
    done = run_here("severity", "compare", file, "--out", tmp_path / "out", *few)
    assert done.code == 0, done.shown
    assert ROWS in done.err
    assert "Warning" not in done.out
    mixed = write_consultations(tmp_path / "mixed.jsonl", relabelled()[:120])
    done = run_here("severity", "compare", mixed, "--out", tmp_path / "other", *few)
    assert done.code == 0, done.shown
    assert "rule" not in done.err
