from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tarjih.data.read import (
    FaultKind,
    UniqueIds,
    is_missing,
    open_rows,
    read_consultations,
    read_rows,
)
from tarjih.errors import DataError
from tarjih.records import Severity, SeverityDistribution

PAPER = [
    "Question",
    "Answer",
    "Severity",
    "\u063a\u064a\u0631 \u062d\u0631\u062c",  # not critical
    "\u0645\u062a\u0648\u0633\u0637",  # moderate
    "\u062d\u0631\u062c",  # critical
]


def saved(path: Path, header: Sequence[str], *rows: Sequence[object]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("whole", [1, 100])
def test_the_papers_sheet_is_read_in_fractions_and_percentages(tmp_path: Path, whole: int) -> None:
    rows = [["q", "a", PAPER[5], 0.32 * whole, 0.32 * whole, 0.36 * whole]]
    path = saved(tmp_path / "x.csv", PAPER, *rows)

    (row,) = read_rows(path)

    assert row.probabilities is not None
    assert row.probabilities.as_tuple() == pytest.approx((0.32, 0.32, 0.36))
    assert row.labelled_severity is None  # it was derived from the probabilities
    assert row.faults == ()


def test_severity_alone_is_a_persons_label(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", ["Post", "Severity", "Plan"], ["p", PAPER[3], "a"])

    (row,) = read_rows(path)

    assert row.labelled_severity is Severity.NON_CRITICAL


def test_ids_come_from_the_column_or_are_made(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "x.csv",
        ["id", "question", "answer"],
        ["7", "a", "b"],
        ["", "", ""],
        ["", "c", "d"],
    )

    assert [row.id for row in read_rows(path)] == ["7", "x-3"]


def test_bad_values_are_faults_of_their_row(tmp_path: Path) -> None:
    header = [
        "complaint",
        "response",
        "labelled_severity",
        "p_non_critical",
        "p_neutral",
        "p_critical",
    ]
    path = saved(
        tmp_path / "x.csv",
        header,
        ["q", "a", "critical", 0.2, 0.3, 0.5],
        ["q", "a", "purple", 0.2, 0.3, 0.5],
        ["q", "a", "", 0.2, 0.3, 0.9],
        ["q", "a", "nan", "nan", 0.5, 0.5],
        ["q", "a", "", "", "", ""],
        ["q", "a", "", "", 0.5, 0.5],
        ["q", "a"],
    )

    rows = list(read_rows(path))

    assert [[fault.kind for fault in row.faults] for row in rows] == [
        [],
        [FaultKind.UNKNOWN_SEVERITY],
        [FaultKind.INVALID_PROBABILITIES],
        [FaultKind.INVALID_PROBABILITIES],
        [],
        [FaultKind.INVALID_PROBABILITIES],
        [FaultKind.DAMAGED_ROW],
    ]
    assert rows[1].faults[0].value == "purple"
    assert rows[2].faults[0].value == "0.2 0.3 0.9"
    assert rows[4].probabilities is None


def test_further_labels_are_understood(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", ["complaint", "response", "severity"], ["q", "a", "purple"])

    (row,) = open_rows(path, labels={"Purple": Severity.CRITICAL}).rows

    assert row.labelled_severity is Severity.CRITICAL


def test_a_header_without_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a header but no rows"):
        open_rows(saved(tmp_path / "x.csv", ["complaint", "response"]))


@pytest.mark.parametrize("text", [None, "", "  ", "NaN", "None", "null", "#N/A"])
def test_words_for_nothing_are_nothing(text: str | None) -> None:
    assert is_missing(text)
    assert not is_missing("nano")


def test_consultations_are_cleaned_and_have_unique_ids(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "x.csv",
        ["id", "complaint", "response", "specialty", "p_non_critical", "p_neutral", "p_critical"],
        ["1", " a\u200b  b ", "r", " ear ", 0.2, 0.3, 0.5],
        ["1", "c", "", "", "", "", ""],
    )

    first, second = read_consultations(path)

    assert (first.id, first.complaint, first.specialty) == ("1", "a b", "ear")
    assert first.probabilities == SeverityDistribution(0.2, 0.3, 0.5)
    assert (second.id, second.response, second.specialty) == ("1#2", "", None)


def test_unique_ids_never_meet_an_id_of_the_file() -> None:
    ids = UniqueIds()

    assert [ids.take(name) for name in ("7", "7#2", "7", "7", "7#2")] == [
        "7",
        "7#2",
        "7#3",
        "7#4",
        "7#2#2",
    ]
    assert ids.repeated == 3


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (["", "a", "critical", 0.2, 0.3, 0.5], {}, "column 'complaint': the value is missing"),
        (["q", "", "critical", 0.2, 0.3, 0.5], {"require_response": True}, "'response'"),
        (["q", "a", "", 0.2, 0.3, 0.5], {"require_severity": True}, "'labelled_severity'"),
        (["q", "a", "critical", "", "", ""], {"require_probabilities": True}, "'probabilities'"),
        (["q", "a", "purple", 0.2, 0.3, 0.5], {}, "value 'purple': this is not a known severity"),
        (["q", "a", "critical", 0.2, 0.3, 0.6], {}, "must sum to 1"),
        (["q", "a", "critical", "nan", 0.3, 0.6], {}, "numbers from 0 to 1"),
    ],
)
def test_what_a_caller_needs_is_checked_row_by_row(
    tmp_path: Path, row: list[object], options: dict[str, Any], message: str
) -> None:
    header = [
        "complaint",
        "response",
        "labelled_severity",
        "p_non_critical",
        "p_neutral",
        "p_critical",
    ]
    good = ["q", "a", "critical", 0.2, 0.3, 0.5]
    path = saved(tmp_path / "x.csv", header, good, row)

    with pytest.raises(DataError, match=rf"(?s)x\.csv, row 2, .*{message}.*What to do:"):
        read_consultations(path, **options)
    assert len(read_consultations(saved(path, header, good), **options)) == 1


def test_columns_that_a_caller_needs_are_checked_first(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", ["complaint"], ["q"])

    assert len(read_consultations(path)) == 1
    with pytest.raises(DataError, match="no column for the response"):
        read_consultations(path, require_response=True)
    with pytest.raises(DataError, match="no column with severity labels"):
        read_consultations(path, require_severity=True)
    with pytest.raises(DataError, match="no severity probabilities"):
        read_consultations(path, require_probabilities=True)
