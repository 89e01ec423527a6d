from __future__ import annotations

import re
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tarjih.data.labels import ARABIC_NAMES, LABELS
from tarjih.errors import DataError
from tarjih.records import PROBABILITY_COLUMNS, SEVERITIES, Severity, SeverityDistribution
from tarjih.severity.review import ComplaintToReview, Reason, complaint_print
from tarjih.severity.review_sheet import CHOICES, read_sheets, write_sheet

MILD, NEUTRAL, CRITICAL = SEVERITIES
P = SeverityDistribution(0.25, 0.25, 0.5)
NASTY = '=HYPERLINK("http://example.org")\n+السطر الثاني'
COMPLAINTS = [
    ComplaintToReview("=1+1", NASTY, (MILD,), P, Reason.RED_FLAG, words="-2+3"),
    ComplaintToReview("0012", "@عندي صداع", (), P, Reason.BOUNDARY),
    ComplaintToReview("c", "عندي _x000D_ سعال \ufffe", (MILD, CRITICAL), P, Reason.CONFLICT),
]


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    write_sheet(COMPLAINTS, tmp_path / "Huda.xlsx")
    return tmp_path / "Huda.xlsx"


def columns(page: Any) -> dict[str, int]:
    """English name of a heading -> its column."""
    return {cell.value.split("\n")[-1]: cell.column for cell in page[1] if cell.value}


def fill_in(sheet: Path, row: int, **cells: object) -> Path:
    """Write cells of a data row as a reviewer does, in a program that knows no lock."""
    book = openpyxl.load_workbook(sheet)
    places = columns(book["review"])
    for name, value in cells.items():
        book["review"].cell(row + 1, places[name.replace("_", " ")], value)
    book.save(sheet)
    return sheet


def test_nothing_in_the_sheet_is_a_formula(sheet: Path) -> None:
    with zipfile.ZipFile(sheet) as parts:
        pages = [parts.read(f"xl/worksheets/sheet{n}.xml").decode() for n in (1, 2)]
    assert all("<f>" not in page and ' t="e"' not in page for page in pages)
    page = openpyxl.load_workbook(sheet)["review"]
    places = columns(page)
    for name, value in (("id", "=1+1"), ("complaint", NASTY), ("words", "-2+3")):
        cell = page.cell(2, places[name])
        assert (cell.value, cell.data_type, cell.quotePrefix) == (value, "s", True)


def test_the_sheet_is_laid_out_for_its_readers(sheet: Path) -> None:
    book = openpyxl.load_workbook(sheet)
    page, how = book.worksheets
    assert page.sheet_view.rightToLeft
    assert how.sheet_view.rightToLeft
    assert page.freeze_panes == "A2"
    places = columns(page)
    letters = {name: page.cell(1, place).column_letter for name, place in places.items()}
    assert page.column_dimensions[letters["complaint"]].width >= 60
    (offered,) = page.data_validations.dataValidation
    assert offered.formula1 == f'"{",".join(CHOICES)}"'
    assert len(offered.formula1) <= 255  # more, and Excel calls the file damaged
    assert str(offered.sqref) == f"{letters['new label']}2:{letters['new label']}4"
    unlocked = {c.column_letter for c in page[2] if not c.protection.locked}
    assert unlocked == {letters[name] for name in ("new label", "comment", "reviewer")}
    assert page.protection.sheet
    assert not page.protection.formatColumns  # allowed
    shown = [[cell.value for cell in line] for line in how.iter_rows()]
    assert all(re.search("[\u0600-\u06ff]", arabic) for arabic, _ in shown)
    assert all(not re.search("[\u0600-\u06ff]", english) for _, english in shown)


def test_every_choice_is_a_label_that_can_be_read() -> None:
    by_name = {**LABELS, **{name.replace("_", "-"): Severity(name) for name in SEVERITIES}}
    assert [by_name[choice] for choice in CHOICES] == [*SEVERITIES, *SEVERITIES]


def test_labels_and_estimates_can_be_hidden(tmp_path: Path, sheet: Path) -> None:
    write_sheet(COMPLAINTS, tmp_path / "blind.xlsx", blind=True)
    told = {"label", "reason", "words", "most likely", *PROBABILITY_COLUMNS}
    for file, expected in ((tmp_path / "blind.xlsx", told), (sheet, set())):
        page = openpyxl.load_workbook(file)["review"]
        hidden = {
            name
            for name, place in columns(page).items()
            if page.column_dimensions[page.cell(1, place).column_letter].hidden
        }
        assert hidden == expected


def test_what_a_reviewer_wrote_is_read_back(sheet: Path) -> None:
    fill_in(sheet, 1, new_label="critical", comment="=cmd|' /C calc'!A0", reviewer="@Omar")
    fill_in(sheet, 3, new_label=f" {ARABIC_NAMES[NEUTRAL]} ")
    first, third = read_sheets([sheet])
    assert (first.id, first.before, first.after) == ("=1+1", (MILD,), CRITICAL)
    assert (first.reviewer, first.sheet, first.row) == ("@Omar", str(sheet), 1)
    assert first.comment == ""  # a formula's result is read, and nothing ever computed it
    assert first.complaint == complaint_print(NASTY)
    assert (third.id, third.before, third.after) == ("c", (MILD, CRITICAL), NEUTRAL)
    assert (third.reviewer, third.comment, third.row) == ("Huda", "", 3)
    assert third.complaint == complaint_print(COMPLAINTS[2].complaint)


def test_the_date_is_that_of_the_last_save_also_of_a_copy(sheet: Path, tmp_path: Path) -> None:
    fill_in(sheet, 2, new_label="mild")
    saved = openpyxl.load_workbook(sheet).properties.modified
    assert isinstance(saved, datetime)
    copy = tmp_path / "copy.xlsx"
    copy.write_bytes(sheet.read_bytes())
    (one,), (other,) = read_sheets([sheet]), read_sheets([copy])
    assert one.date == other.date == f"{saved:%Y-%m-%dT%H:%M:%S}Z"
    assert (one.id, one.before) == ("0012", ())


def test_rows_and_columns_may_have_been_moved(sheet: Path) -> None:
    fill_in(sheet, 1, new_label="critical")
    book = openpyxl.load_workbook(sheet)
    page = book["review"]
    rows = [[cell.value for cell in line][::-1] for line in page.iter_rows()]
    page.delete_rows(1, page.max_row)
    for line in [rows[0], *rows[:0:-1]]:
        page.append([None if text and str(text).startswith("=H") else text for text in line])
    place = columns(page)["complaint"]
    page.cell(4, place).value, page.cell(4, place).data_type = NASTY, "s"
    page.cell(1, place).value = "Complaint"  # without its Arabic
    book.move_sheet("instructions", -1)
    book.save(sheet)
    (decision,) = read_sheets([sheet])
    assert (decision.row, decision.after) == (3, CRITICAL)
    assert decision.complaint == complaint_print(NASTY)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"new_label": "so-so"}, "row 2, column 'new label': 'so-so' is not one of the three"),
        ({"new_label": "mild", "label": "dire"}, "row 2, column 'label': 'dire'"),
        (
            {"new_label": "mild", "complaint": " "},
            "row 2: the row has a new label but no complaint",
        ),
        ({}, "nobody filled in a new label"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named(sheet: Path, cells: dict[str, str], said: str) -> None:
    fill_in(sheet, 2, **cells)
    with pytest.raises(DataError, match=rf"Huda\.xlsx(, |: ){said}"):
        read_sheets([sheet])


def test_a_changed_first_row_is_named(sheet: Path) -> None:
    book = openpyxl.load_workbook(sheet)
    places = columns(book["review"])
    book["review"].cell(1, places["new label"], "my label")
    book["review"].cell(1, places["id"]).value = None
    book.save(sheet)
    with pytest.raises(DataError, match="the first row has no 'id' and no 'new label'"):
        read_sheets([sheet])


def test_files_of_one_name_need_reviewers(sheet: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "Huda.xlsx"
    fill_in(sheet, 1, new_label="mild", reviewer="Huda A.")
    other.write_bytes(sheet.read_bytes())
    assert len(read_sheets([sheet, other])) == 2
    fill_in(other, 2, new_label="mild")
    with pytest.raises(DataError, match=r"other/Huda\.xlsx, row 2, column 'reviewer'"):
        read_sheets([sheet, other])


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "b.xlsx"])
def test_what_is_no_sheet_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text("id", encoding="utf-8")
    (tmp_path / "b.xlsx").write_text("id", encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(name)):
        read_sheets([tmp_path / name])
    with pytest.raises(DataError, match=r"end the name in \.xlsx"):
        write_sheet(COMPLAINTS, tmp_path / "a.csv")


def test_a_complaint_longer_than_a_cell_is_found_again(tmp_path: Path) -> None:
    long = "عندي صداع شديد " * 3000
    one = ComplaintToReview("1", long, (MILD,), P, Reason.BOUNDARY, words=long)
    write_sheet([one], tmp_path / "a.xlsx")
    fill_in(tmp_path / "a.xlsx", 1, new_label="mild")
    (decision,) = read_sheets([tmp_path / "a.xlsx"])
    assert decision.complaint == complaint_print(long)
