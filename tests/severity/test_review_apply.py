from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from severity.test_review_sheet import columns
from tarjih.data.labels import ARABIC_NAMES
from tarjih.data.read import read_consultations
from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Consultation, Severity, SeverityDistribution
from tarjih.severity.review import ComplaintToReview, Reason, in_order
from tarjih.severity.review_apply import Applied, apply_sheets
from tarjih.severity.review_sheet import write_sheet

MILD, NEUTRAL, CRITICAL = SEVERITIES
P = SeverityDistribution(0.25, 0.25, 0.5)
HEADER = ["Age", "Post", "Severity", "Note"]
ROWS = [
    ["30", "عندي صداع", ARABIC_NAMES[MILD], "=1+1"],
    ["007", "=عندي ألم في الصدر", ARABIC_NAMES[MILD], "-5"],
    ["41", "- عندي سعال", ARABIC_NAMES[NEUTRAL], 'a, "b"\nc'],
    ["1.50", "عندي صداع!", ARABIC_NAMES[MILD], ""],
    ["", "عندي حساسية", "", "@x"],
]


def write_csv(file: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "posts.csv", ROWS)


def sheet_of(data: Path, name: str, **labels: str) -> Path:
    """A sheet of all complaints of a file, with new labels by the words that complaints hold."""
    of_complaint: dict[str, list[Consultation]] = {}
    for one in read_consultations(data):
        of_complaint.setdefault(one.complaint.strip("!"), []).append(one)
    asked = [
        ComplaintToReview(
            rows[0].id,
            rows[0].complaint,
            in_order([row.labelled_severity for row in rows]),
            P,
            Reason.BOUNDARY,
        )
        for rows in of_complaint.values()
    ]
    file = data.parent / f"{name}.xlsx"
    write_sheet(asked, file)
    book = openpyxl.load_workbook(file)
    page = book["review"]
    places = columns(page)
    for row, complaint in enumerate(asked, start=2):
        for word, label in labels.items():
            if word in complaint.complaint:
                page.cell(row, places["new label"], label)
    book.save(file)
    return file


def applied(data: Path, *sheets: Path, out: str = "out.csv", **more: Any) -> Applied:
    return apply_sheets(data, sheets, data.parent / out, data.parent / "record.jsonl", **more)


def labels_in(file: Path) -> dict[str, Severity | None]:
    return {one.complaint: one.labelled_severity for one in read_consultations(file)}


def test_labels_change_and_all_else_stays(data: Path) -> None:
    huda = sheet_of(data, "huda", صداع="critical", سعال=ARABIC_NAMES[NEUTRAL], حساسية="low")
    done = applied(data, huda)
    assert (done.complaints, done.changed_rows, done.confirmed, done.undecided) == (3, 3, 1, ())
    with done.file.open(encoding="utf-8-sig", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == HEADER
    unguarded = [[cell.lstrip("\u200f") for cell in row] for row in rows]
    expected = [list(row) for row in ROWS]
    expected[0][2] = expected[3][2] = ARABIC_NAMES[CRITICAL]  # as the file spells it
    expected[4][2] = "non_critical"
    assert unguarded == expected
    assert [row[3] for row in rows] == ["\u200f=1+1", "-5", 'a, "b"\nc', "", "\u200f@x"]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
def test_every_format_reads_back_the_same(data: Path, suffix: str) -> None:
    done = applied(data, sheet_of(data, "huda", صداع="critical"), out=f"out{suffix}")
    expected = {**labels_in(data), "عندي صداع": CRITICAL, "عندي صداع!": CRITICAL}
    assert labels_in(done.file) == expected
    if suffix == ".xlsx":
        page = openpyxl.load_workbook(done.file).worksheets[0]
        ages = [cell.value for cell in page["A"][1:]]
        assert ages == [30, "007", 41, "1.50", None]
        assert {cell.data_type for line in page["B2:D6"] for cell in line} == {
            "inlineStr",
            "s",
            "n",
        }
        assert page["D3"].value == -5


def test_the_record_says_who_changed_what(data: Path) -> None:
    huda = sheet_of(data, "huda", صداع="critical", سعال="critical")
    omar = sheet_of(data, "omar", صداع="critical", سعال="mild")
    done = applied(data, huda, omar)
    assert (done.complaints, done.changed_rows, done.confirmed) == (2, 2, 0)
    assert done.undecided == ("posts-3",)
    record = [json.loads(line) for line in done.record.read_text(encoding="utf-8").splitlines()]
    assert [(one["id"], one["reviewer"], one["after"], one["decided"]) for one in record] == [
        ("posts-1", "huda", "critical", "critical"),
        ("posts-1", "omar", "critical", "critical"),
        ("posts-3", "huda", "critical", None),
        ("posts-3", "omar", "non_critical", None),
    ]
    assert record[0] == {
        "id": "posts-1",
        "before": ["non_critical"],
        "after": "critical",
        "decided": "critical",
        "reviewer": "huda",
        "comment": "",
        "sheet": "huda.xlsx",
        "date": record[0]["date"],
        "rows": [1, 4],
    }
    assert labels_in(done.file)["- عندي سعال"] is NEUTRAL


def test_rows_are_found_when_the_file_was_sorted_and_renamed(data: Path) -> None:
    huda = sheet_of(data, "huda", صداع="critical", سعال="mild", حساسية="mild")
    shuffled = random.Random(3).sample(ROWS, len(ROWS))
    moved = write_csv(data.parent / "renamed.csv", shuffled)
    done = applied(moved, huda)
    expected = labels_in(applied(data, huda, out="unmoved.csv").file)
    assert labels_in(done.file) == expected
    assert list(labels_in(done.file)) != list(expected)


def test_equal_ids_are_told_apart_by_what_they_say(tmp_path: Path) -> None:
    header = ["id", "complaint", "severity"]
    rows = [["7", "عندي صداع", "mild"], ["7", "عندي سعال", "mild"]]
    data = write_csv(tmp_path / "d.csv", rows, header)
    done = applied(data, sheet_of(data, "huda", سعال="critical"))
    assert labels_in(done.file) == {"عندي صداع": MILD, "عندي سعال": CRITICAL}


def test_one_complaint_of_two_labels_gets_one(tmp_path: Path) -> None:
    rows = [["عندي صداع", "mild"], ["عندي صداع!", "critical"], ["عندي سعال", "mild"]]
    data = write_csv(tmp_path / "d.csv", rows, ["complaint", "severity"])
    done = applied(data, sheet_of(data, "huda", صداع="mild"))
    assert (done.changed_rows, done.confirmed) == (1, 0)
    assert set(labels_in(done.file).values()) == {MILD}


def test_parquet_keeps_types_and_metadata(tmp_path: Path) -> None:
    table = pa.table(
        {
            "complaint": ["عندي صداع", None, "عندي سعال"],
            "severity": pa.array(["critical", None, "mild"]).dictionary_encode(),
            "p_non_critical": [0.1, None, 0.7],
            "p_neutral": [0.2, None, 0.2],
            "p_critical": [0.7, None, 0.1],
            "age": pa.array([3, None, 5], pa.int8()),
        }
    ).replace_schema_metadata({"tarjih.annotator": "{}"})
    pq.write_table(table, tmp_path / "scored.parquet")
    data = tmp_path / "scored.parquet"
    # Beside probabilities, `severity` is the annotator's: nobody has labelled these.
    huda = sheet_of(data, "huda", صداع="mild")
    done = applied(data, huda, out="out.parquet")
    written = pq.read_table(done.file)
    assert written.column_names == [*table.column_names, "labelled_severity"]
    assert written["labelled_severity"].to_pylist() == ["non_critical", None, None]
    assert written.drop_columns("labelled_severity").equals(table)
    assert written.schema.metadata == table.schema.metadata
    labelled = sheet_of(done.file, "omar", صداع="critical")
    again = pq.read_table(applied(done.file, labelled, out="again.parquet").file)
    assert again["labelled_severity"].to_pylist() == ["critical", None, None]
    assert again.schema == written.schema


def test_told_columns_are_used(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "d.csv", [["عندي صداع", "low"]], ["asked", "how bad"])
    told = {"complaint": "asked", "labelled_severity": "how bad"}
    (one,) = read_consultations(data, columns=told)
    write_sheet(
        [ComplaintToReview(one.id, one.complaint, (MILD,), P, Reason.BOUNDARY)],
        tmp_path / "s.xlsx",
    )
    book = openpyxl.load_workbook(tmp_path / "s.xlsx")
    book["review"].cell(2, columns(book["review"])["new label"], "high")
    book.save(tmp_path / "s.xlsx")
    done = applied(data, tmp_path / "s.xlsx", columns=told)
    lines = done.file.read_text(encoding="utf-8-sig").splitlines()
    assert lines == ["asked,how bad", "عندي صداع,critical"]


def test_sheets_of_other_data_are_refused(data: Path) -> None:
    huda = sheet_of(data, "huda", سعال="critical")
    others = write_csv(data.parent / "others.csv", ROWS[:2])
    with pytest.raises(DataError, match=r"huda\.xlsx, row 3: the complaint with id 'posts-3'") as e:
        applied(others, huda)
    assert "is not in" in e.value.what
    changed = write_csv(
        data.parent / "changed.csv", [*ROWS[:2], ["", ROWS[2][1], "critical", ""], *ROWS[3:]]
    )
    with pytest.raises(
        DataError, match=r"huda\.xlsx, row 3, column 'label': .* is critical in .*, but neutral in"
    ):
        applied(changed, huda)
    assert not (data.parent / "out.csv").exists()
    assert not (data.parent / "record.jsonl").exists()


def test_what_cannot_be_used_is_named(data: Path) -> None:
    huda = sheet_of(data, "huda", سعال="critical")
    with pytest.raises(DataError, match=r"not written as \.tsv"):
        applied(data, huda, out="out.tsv")
    bad = write_csv(data.parent / "bad.csv", [*ROWS, ["", "x", "dire", ""]])
    with pytest.raises(DataError, match=r"bad\.csv, row 6, column 'Severity', value 'dire'"):
        applied(bad, huda)
    twice = sheet_of(data, "twice", سعال="mild")
    book = openpyxl.load_workbook(twice)
    for row in range(2, 6):
        book["review"].cell(row, columns(book["review"])["reviewer"], "huda")
    book.save(twice)
    with pytest.raises(DataError, match=r"twice\.xlsx, row 3, .* 'huda' calls"):
        applied(data, huda, twice)


def test_a_refusal_leaves_nothing(data: Path) -> None:
    huda = sheet_of(data, "huda", سعال="critical")
    long = write_csv(data.parent / "long.csv", [*ROWS, ["", "x", "", "y" * 32_768]])
    before = set(data.parent.iterdir())
    with pytest.raises(DataError, match=r"out\.xlsx, row 6: a text of 32,768 characters"):
        applied(long, huda, out="out.xlsx")
    assert set(data.parent.iterdir()) == before
