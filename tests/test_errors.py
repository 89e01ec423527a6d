from __future__ import annotations

from pathlib import Path

import pytest

from tarjih.errors import (
    BadInputError,
    DataError,
    FolderError,
    ModelError,
    SettingsError,
    TarjihError,
    WorkFailedError,
    shorten,
)


def test_the_message_says_where_what_and_the_remedy() -> None:
    error = DataError(
        "this is no severity",
        file=Path("data/a.csv"),
        row=3,
        column="severity",
        value="urgent?",
        remedy="write critical",
    )
    assert str(error) == (
        "data/a.csv, row 3, column 'severity', value 'urgent?': this is no severity\n"
        "What to do: write critical"
    )
    assert (error.file, error.row, error.column) == ("data/a.csv", 3, "severity")


def test_without_a_place_the_message_starts_with_what_is_wrong() -> None:
    assert str(ModelError("no such model", remedy="check")) == "no such model\nWhat to do: check"


def test_row_zero_and_an_empty_value_are_shown() -> None:
    assert "row 0, value ''" in str(DataError("bad", row=0, value="", remedy="mend"))


@pytest.mark.parametrize("kind", [DataError, SettingsError, ModelError, FolderError])
def test_bad_input_ends_with_code_2(kind: type[BadInputError]) -> None:
    assert issubclass(kind, BadInputError)
    assert issubclass(kind, TarjihError)
    assert kind.exit_code == 2


def test_failed_work_ends_with_code_1() -> None:
    assert not issubclass(WorkFailedError, BadInputError)
    assert WorkFailedError("the loss is not a number").exit_code == 1


def test_what_a_patient_wrote_is_shortened_and_stays_on_one_line() -> None:
    complaint = "headache\nfor three days " * 40
    shown = shorten(complaint)
    assert len(shown) == 60
    assert shown.endswith("…")
    assert "\n" not in shown
    assert complaint not in str(DataError("bad", value=complaint, remedy="mend"))


def test_a_short_value_is_shown_whole() -> None:
    assert shorten("x" * 58) == repr("x" * 58)
    assert shorten(0.5) == "0.5"
