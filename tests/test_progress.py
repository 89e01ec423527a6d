from __future__ import annotations

import pytest

from tarjih.progress import SILENT, Reporter, from_totals


def test_the_silent_reporter_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with SILENT.stage("reading", 3) as advance, SILENT.stage("within") as inner:
        advance(1)
        inner(2)
    SILENT.note("a note")
    SILENT.warn("a warning")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_stage_does_not_swallow_what_goes_wrong_in_it() -> None:
    with pytest.raises(KeyError), Reporter().stage("reading"):
        raise KeyError("lost")


def test_totals_become_advances() -> None:
    told: list[int] = []
    progress = from_totals(told.append)
    for done in (2, 2, 7, 8):
        progress(done)
    assert told == [2, 0, 5, 1]
