"""Tables that spreadsheet programs open, in which no text is ever taken for a formula.

To a spreadsheet program a cell that begins with one of ``= + - @``, a tab or a line end is a
formula, and whoever wrote the text chooses what it does on the reader's machine (CWE-1236). In a
workbook such a cell is stored as text. CSV knows no types, so there it gets a RIGHT-TO-LEFT MARK in
front, which nobody sees, which begins no formula, and which `clean_text` drops on reading.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils import get_column_letter

from tarjih.data.tables import as_text
from tarjih.errors import DataError
from tarjih.files import atomic_file

TableCell = str | int | float | None
WRITABLE_SUFFIXES = (".xlsx", ".csv")
LONGEST_CELL = 32_767  # characters that a spreadsheet cell holds
MOST_ROWS = 1_048_576  # of a sheet, its header among them
GUARD = "\u200f"  # RIGHT-TO-LEFT MARK

_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")  # full-width forms as well
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*\s*")
_PLAIN_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,17})?")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LIKE_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")  # _x000D_ would be read as a line end
_REPLACEMENT = "\ufffd"  # REPLACEMENT CHARACTER


def may_be_formula(text: str) -> bool:
    """Whether a spreadsheet program might run a text; a number such as -5 does nothing."""
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None


def as_cell(text: str | None) -> TableCell:
    """A text as a spreadsheet holds it: a number where the number reads back as the same text."""
    if text is None or not _PLAIN_NUMBER.fullmatch(text):
        return text
    number = float(text) if "." in text else int(text)
    return number if as_text(number) == text else text


def in_workbook(text: str) -> str:
    """A text as a workbook stores it: without what XML cannot hold, and without chance escapes."""
    return _LIKE_ESCAPE.sub("_x005F_", _NOT_XML.sub(_REPLACEMENT, text))


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Sequence[TableCell]],
    *,
    widths: Sequence[int] = (),
) -> None:
    """Write a table as a workbook or as CSV, atomically and streaming.

    CSV is UTF-8 with a byte order mark, without which Excel takes Arabic for another encoding.

    Args:
        path: ending in .xlsx or .csv.
        columns: their names.
        rows: of as many cells each.
        widths: of the columns of a workbook, in characters.

    Raises:
        DataError: when the name has another ending, or a workbook cannot hold a row or a cell.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise DataError(
            f"tables are not written as {path.suffix or 'a file without an ending'}",
            file=path,
            remedy=f"end the name in {' or '.join(WRITABLE_SUFFIXES)}",
        )
    with atomic_file(path) as temporary:
        write(temporary, path, chain([tuple(columns)], rows), widths)


def _write_csv(
    temporary: Path, path: Path, rows: Iterable[Sequence[TableCell]], widths: Sequence[int]
) -> None:
    del path, widths
    with temporary.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([_guarded(cell) for cell in row] for row in rows)


def _guarded(cell: TableCell) -> TableCell:
    return GUARD + cell if isinstance(cell, str) and may_be_formula(cell) else cell


def _write_workbook(
    temporary: Path, path: Path, rows: Iterable[Sequence[TableCell]], widths: Sequence[int]
) -> None:
    book = Workbook(write_only=True)
    sheet: Any = book.create_sheet()
    sheet.sheet_view.rightToLeft = True
    sheet.freeze_panes = "A2"
    for number, width in enumerate(widths, start=1):
        sheet.column_dimensions[get_column_letter(number)].width = width
    try:
        for cells in _workbook_rows(sheet, path, rows):
            sheet.append(cells)
    except BaseException:
        sheet.close()
        raise
    book.save(temporary)


def _workbook_rows(
    sheet: Any, path: Path, rows: Iterable[Sequence[TableCell]]
) -> Iterator[list[object]]:
    for number, row in enumerate(rows):
        if number == MOST_ROWS:
            raise DataError(
                f"a sheet holds {MOST_ROWS - 1:,} rows, and there are more",
                file=path,
                remedy="write a .csv",
            )
        for cell in row:
            if isinstance(cell, str) and len(cell) > LONGEST_CELL:
                raise DataError(
                    f"a text of {len(cell):,} characters is longer than the {LONGEST_CELL:,} that "
                    "a spreadsheet cell holds",
                    file=path,
                    row=number,
                    remedy="write a .csv, or leave the row out",
                )
        yield [_workbook_cell(sheet, cell) for cell in row]


def _workbook_cell(sheet: Any, cell: TableCell) -> object:
    if not isinstance(cell, str):
        return cell
    text = in_workbook(cell)
    if not text.startswith("#") and not may_be_formula(text):
        return text
    made = WriteOnlyCell(sheet)
    made.value = text
    made.data_type = "s"  # openpyxl takes "=..." for a formula and "#N/A" for an error
    made.quotePrefix = True  # or the program makes a formula of it when somebody edits the cell
    return made


_WRITERS: dict[str, Callable[[Path, Path, Iterable[Sequence[TableCell]], Sequence[int]], None]] = {
    ".xlsx": _write_workbook,
    ".csv": _write_csv,
}
