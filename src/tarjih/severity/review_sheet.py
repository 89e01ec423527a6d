"""The workbook that reviewers fill in: one sheet of complaints, one that says how, both ways.

It is laid out from right to left, in Arabic and English. What patients wrote is stored as text,
never as a formula; what must come back unchanged is locked (without a password), and the new label
is chosen from a list.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.styles import Alignment, Font, PatternFill, Protection
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from tarjih.data.columns import fold_name
from tarjih.data.labels import ARABIC_NAMES, parse_severity
from tarjih.data.tables import RawRow, open_sheet
from tarjih.data.write import LONGEST_CELL, in_workbook
from tarjih.errors import DataError, shorten
from tarjih.files import atomic_file
from tarjih.records import PROBABILITY_COLUMNS, SEVERITIES, Severity
from tarjih.severity.review import (
    ComplaintToReview,
    Decision,
    Labels,
    complaint_print,
    in_order,
)

FILLED_IN = ("new label", "comment", "reviewer")
NEEDED = ("id", "complaint", "label", *FILLED_IN)
TOLD = ("label", "reason", "words", "most likely", *PROBABILITY_COLUMNS)
# What the list offers: the published names, then ours, so that either may be typed as well.
CHOICES = (*ARABIC_NAMES.values(), *(one.replace("_", "-") for one in SEVERITIES))
_BETWEEN = " / "
_SHEET = "review"
_TO_FILL_IN = PatternFill("solid", fgColor="FFF2CC")
_WRAPPED = Alignment(wrap_text=True, vertical="top", readingOrder=2)


def write_sheet(complaints: Sequence[ComplaintToReview], out: Path, *, blind: bool = False) -> None:
    """Write complaints as a workbook to be filled in.

    Args:
        complaints: a row each.
        out: a path ending in .xlsx.
        blind: hide labels, estimates and reasons, so that they do not lead the reviewer.

    Raises:
        DataError: when `out` does not end in .xlsx.
    """
    check_sheet_name(out)
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = _SHEET
    sheet.sheet_view.rightToLeft = True
    sheet.freeze_panes = "A2"
    _write_header(sheet, blind)
    for number, complaint in enumerate(complaints, start=2):
        _write_row(sheet, number, _cells(complaint))
    _offer_choices(sheet, len(complaints) + 1)
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(_columns()))}{len(complaints) + 1}"
    sheet.protection.enable()
    for allowed in ("formatColumns", "formatRows", "autoFilter"):
        setattr(sheet.protection, allowed, False)  # False: not locked
    _write_instructions(book.create_sheet("instructions"))
    with atomic_file(out) as temporary:
        book.save(temporary)


def check_sheet_name(out: Path) -> None:
    """Refuse a name that no sheet is written as, before complaints are scored for it.

    Raises:
        DataError: when `out` does not end in .xlsx.
    """
    if out.suffix.lower() != ".xlsx":
        raise DataError(
            "review sheets are written as .xlsx", file=out, remedy="end the name in .xlsx"
        )


def _write_header(sheet: Any, blind: bool) -> None:
    for place, (name, words) in enumerate(_columns().items(), start=1):
        cell = sheet.cell(1, place, _heading(words))
        cell.font = Font(bold=True)
        cell.alignment = _WRAPPED
        column = sheet.column_dimensions[get_column_letter(place)]
        column.width = words["width"]
        column.hidden = blind and name in TOLD


def _cells(one: ComplaintToReview) -> dict[str, str | float]:
    values = zip(PROBABILITY_COLUMNS, one.probabilities.as_tuple(), strict=True)
    return {
        "id": one.id,
        "complaint": one.complaint[:LONGEST_CELL],
        "label": _BETWEEN.join(ARABIC_NAMES[label] for label in one.labels),
        "reason": _heading(_words()["reasons"][one.reason]),
        "words": one.words[:LONGEST_CELL],
        "most likely": ARABIC_NAMES[one.probabilities.most_likely],
        **{name: round(value, 3) for name, value in values},
    }


def _write_row(sheet: Any, number: int, values: Mapping[str, str | float]) -> None:
    for place, name in enumerate(_columns(), start=1):
        cell, value = sheet.cell(number, place), values.get(name)
        cell.alignment = _WRAPPED
        if isinstance(value, str):
            cell.value = in_workbook(value)
            cell.data_type = "s"  # else openpyxl takes "=..." for a formula
            cell.quotePrefix = True  # else the program does, when somebody edits the cell
        else:
            cell.value = value
        if name in FILLED_IN:
            cell.fill = _TO_FILL_IN
            cell.protection = Protection(locked=False)


def _offer_choices(sheet: Any, last: int) -> None:
    told = _words()["choose"]
    offered = DataValidation(
        type="list",
        formula1=f'"{",".join(CHOICES)}"',
        allow_blank=True,
        showErrorMessage=True,
        error=_heading(told),
    )
    letter = get_column_letter(list(_columns()).index("new label") + 1)
    offered.add(f"{letter}2:{letter}{max(last, 2)}")
    sheet.add_data_validation(offered)


def _write_instructions(sheet: Any) -> None:
    sheet.sheet_view.rightToLeft = True
    sheet.column_dimensions["A"].width = sheet.column_dimensions["B"].width = 70
    for number, words in enumerate(_words()["instructions"], start=1):
        for place, language, order in ((1, "arabic", 2), (2, "english", 1)):
            cell = sheet.cell(number, place, words[language])
            cell.alignment = Alignment(wrap_text=True, vertical="top", readingOrder=order)
            cell.font = Font(bold=number == 1)


@cache
def _words() -> Any:
    text = (files("tarjih.severity") / "review_words.json").read_text(encoding="utf-8")
    return json.loads(text)


def _columns() -> dict[str, Any]:
    columns: dict[str, Any] = _words()["columns"]
    return columns


def _heading(words: Mapping[str, str]) -> str:
    return f"{words['arabic']}\n{words['english']}"


def read_sheets(sheets: Sequence[Path]) -> list[Decision]:
    """The decisions of sheets that came back; rows without a new label are left out.

    Where the column "reviewer" is empty, the name of the file stands for the reviewer.

    Raises:
        DataError: when one is no such sheet, a label is none of the three, or two files that must
            tell reviewers apart have the same name; names the file and the row, counted from 1
            after the header.
    """
    decisions = [decision for sheet in sheets for decision in _read_sheet(sheet)]
    if not decisions:
        raise DataError(
            "nobody filled in a new label",
            file=", ".join(map(str, sheets)),
            remedy="give sheets that a reviewer has filled in",
        )
    files_of = Counter(sheet.stem for sheet in sheets)
    for decision in decisions:
        if files_of[decision.reviewer] > 1:
            raise DataError(
                "it is not said who filled in this row, and several of the files have this name",
                file=decision.sheet,
                row=decision.row,
                column="reviewer",
                remedy="write the reviewer's name into the column, or name the files after them",
            )
    return decisions


def _read_sheet(file: Path) -> Iterator[Decision]:
    if file.suffix.lower() != ".xlsx":
        raise DataError("this is no .xlsx file", file=file, remedy="save the sheet as .xlsx")
    if not file.is_file():
        raise DataError("there is no such file", file=file, remedy="check the path")
    table = open_sheet(file, None, lambda header: not _missing(header))
    missing = _missing(table.columns)
    if missing:
        raise DataError(
            f"the first row has no {' and no '.join(map(repr, missing))}",
            file=file,
            remedy="give a sheet that `tarjih severity review write` made, its first row unchanged",
        )
    named = _named(table.columns)
    date = _saved(file)
    for row in table.rows:
        texts = {name: _text(row, column) for name, column in named.items()}
        if texts["new label"]:
            yield _decision(texts, file, row.number, date)


def _named(header: Sequence[str]) -> dict[str, str]:
    """Our names -> the header's; a heading is known with its Arabic or without."""
    ours = {
        fold_name(text): name
        for name, words in _columns().items()
        for text in (_heading(words), words["english"])
    }
    return {ours[fold_name(text)]: text for text in header if fold_name(text) in ours}


def _missing(header: Sequence[str]) -> list[str]:
    return [name for name in NEEDED if name not in _named(header)]


def _text(row: RawRow, column: str) -> str:
    return (row.cells.get(column) or "").strip()


def _decision(texts: Mapping[str, str], file: Path, row: int, date: str) -> Decision:
    if not texts["complaint"]:
        raise DataError(
            "the row has a new label but no complaint",
            file=file,
            row=row,
            remedy="put the complaint back, or clear the label",
        )
    return Decision(
        id=texts["id"],
        complaint=complaint_print(texts["complaint"]),
        before=_labels(texts["label"], file, row),
        after=_severity(texts["new label"], file, row, "new label"),
        reviewer=texts["reviewer"] or file.stem,
        comment=texts["comment"],
        sheet=str(file),
        row=row,
        date=date,
    )


def _labels(text: str, file: Path, row: int) -> Labels:
    parts = [part for part in text.split("/") if part.strip()]
    return in_order([_severity(part, file, row, "label") for part in parts])


def _severity(label: str, file: Path, row: int, column: str) -> Severity:
    try:
        return parse_severity(label)
    except ValueError:
        raise DataError(
            f"{shorten(label)} is not one of the three severities",
            file=file,
            row=row,
            column=column,
            remedy=f"choose one of: {', '.join(CHOICES)}",
        ) from None


def _saved(file: Path) -> str:
    """When a workbook was last saved, as it says itself: a copy keeps that."""
    book = openpyxl.load_workbook(file, read_only=True)
    told = book.properties.modified
    book.close()
    when = told or datetime.fromtimestamp(file.stat().st_mtime, UTC)
    return when.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
