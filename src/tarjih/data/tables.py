"""Rows out of files, whatever their format: numbered, as text, streaming.

A row's number is its place after the header as a person counts it, blank rows included. Rows that
are wholly blank are passed over.
"""

from __future__ import annotations

import csv
import json
import re
import warnings
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl.utils.exceptions import InvalidFileException

from tarjih.data.encodings import open_text
from tarjih.errors import DataError

_BATCH = 2048
_LONGEST_FIELD = 1 << 24  # characters; a longer one is a quotation mark that is never closed
_DELIMITERS = ",;\t|"
# How Excel stores control characters inside of a cell: _x000D_ is a carriage return, and _x005F_
# the underscore of a text that only looks like such an escape.
_EXCEL_ESCAPE = re.compile(r"_x00(0[9ADad]|5[Ff])_")


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it stands in the file: column -> text, None where there is nothing.

    `damage` says what is wrong with the row itself, so that its cells cannot be trusted.
    """

    number: int
    cells: Mapping[str, str | None]
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Column names in order, and the rows, which can be read once."""

    columns: tuple[str, ...]
    rows: Iterator[RawRow]


def as_text(value: object) -> str | None:
    """A cell as text; whole floats lose their ".0".

    Raises:
        ValueError: when the cell holds a list, a mapping or bytes.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple | dict | bytes):
        raise ValueError(f"a cell holds a {type(value).__name__} where text belongs")
    return str(value)


def _raw_row(number: int, columns: Sequence[str], values: Iterable[object]) -> RawRow | None:
    try:
        cells = {name: as_text(value) for name, value in zip(columns, values, strict=False)}
    except ValueError as error:
        return RawRow(number, {}, str(error))
    if not any(text and not text.isspace() for text in cells.values()):
        return None
    return RawRow(number, cells)


def open_delimited(path: Path, encoding: str | None) -> Table:
    """Open CSV or TSV; the header line tells which of comma, semicolon, tab and bar separates.

    Raises:
        DataError: when the file is empty, is not text in the encoding, or (while reading) has a
            quotation mark that is never closed.
    """
    lines = open_text(path, encoding)
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise _empty(path)
    outside_quotes = re.sub(r'"[^"]*"?', "", first)
    delimiter = max(_DELIMITERS, key=outside_quotes.count)
    csv.field_size_limit(_LONGEST_FIELD)
    # strict: without it a quotation mark that is never closed swallows all rows after it, silently.
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    columns = tuple(name.strip() for name in _next_fields(reader, path, 0))
    return Table(columns, _delimited_rows(path, columns, reader))


def _next_fields(reader: Any, path: Path, number: int) -> list[str]:
    try:
        return list(next(reader))
    except csv.Error as error:
        raise DataError(
            f"this row cannot be read ({error})",
            file=path,
            row=number or None,
            remedy='close every quotation mark and write those inside of a field twice (""), or '
            "save the table as .xlsx",
        ) from None


def _delimited_rows(path: Path, columns: Sequence[str], reader: Any) -> Iterator[RawRow]:
    number = 0
    while True:
        number += 1
        try:
            fields = _next_fields(reader, path, number)
        except StopIteration:
            return
        while len(fields) > len(columns) and not fields[-1].strip():
            fields.pop()
        if fields and len(fields) != len(columns) and any(field.strip() for field in fields):
            damage = f"the row has {len(fields)} fields, but the header has {len(columns)}"
            yield RawRow(number, {}, damage)
        elif (row := _raw_row(number, columns, fields)) is not None:
            yield row


def open_json_lines(path: Path, encoding: str | None) -> Table:
    """Open JSON lines, one object a line. All keys that occur anywhere are columns.

    Raises:
        DataError: when the file is empty or a line is not a JSON object.
    """
    columns: dict[str, None] = {}
    for _, value in _json_objects(path, encoding):
        columns.update(dict.fromkeys(value))
    if not columns:
        raise _empty(path)
    names = tuple(columns)
    rows = (
        _raw_row(number, names, (value.get(name) for name in names))
        for number, value in _json_objects(path, encoding)
    )
    return Table(names, (row for row in rows if row is not None))


def _json_objects(path: Path, encoding: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(open_text(path, encoding), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(
                f"this line is not JSON ({error})",
                file=path,
                row=number,
                remedy="write one JSON object a line",
            ) from None
        if not isinstance(value, dict):
            raise DataError(
                f"this line holds a JSON {type(value).__name__}, not an object",
                file=path,
                row=number,
                remedy='write one JSON object a line: {"complaint": "...", "response": "..."}',
            )
        yield number, value


def open_sheet(path: Path, sheet: str | None, fits: Callable[[Sequence[str]], bool]) -> Table:
    """Open an Excel workbook: the named sheet, or the first one whose header fits, or the first.

    Raises:
        DataError: when the workbook is damaged or empty, or has no sheet of that name.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns about styles, which we do not read
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, ET.ParseError) as error:
        raise DataError(
            f"this is not a readable Excel workbook ({type(error).__name__})",
            file=path,
            remedy="open it in a spreadsheet program (it may be damaged or protected by a "
            "password) and save it again as .xlsx or .csv",
        ) from None
    names = [sheet] if sheet is not None else [page.title for page in book.worksheets]
    if sheet is not None and sheet not in book.sheetnames:
        raise DataError(
            f"there is no sheet {sheet!r}; the workbook has {', '.join(book.sheetnames)}",
            file=path,
            remedy="name one of these sheets",
        )
    headers = {name: _sheet_header(book[name]) for name in names}
    filled = [name for name in names if headers[name]]
    if not filled:
        raise _empty(path)
    chosen = next((name for name in filled if fits(headers[name])), filled[0])
    return Table(headers[chosen], _sheet_rows(book, chosen, headers[chosen]))


def _sheet_header(page: Any) -> tuple[str, ...]:
    first = next((values for values in _filled(page)), ())
    names = ["" if value is None else str(value).strip() for value in first]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _filled(page: Any) -> Iterator[tuple[object, ...]]:
    rows = page.iter_rows(values_only=True)
    return (values for values in rows if any(value not in (None, "") for value in values))


def _sheet_rows(book: Any, name: str, columns: Sequence[str]) -> Iterator[RawRow]:
    seen_header = False
    number = 0
    try:
        for values in book[name].iter_rows(values_only=True):
            if not seen_header:
                seen_header = any(value not in (None, "") for value in values)
                continue
            number += 1
            cells = (_unescaped(value) for value in values)
            if (row := _raw_row(number, columns, cells)) is not None:
                yield row
    finally:
        book.close()


def _unescaped(value: object) -> object:
    if not isinstance(value, str) or "_x00" not in value:
        return value
    return _EXCEL_ESCAPE.sub(lambda match: chr(int(match[1], 16)), value)


def open_parquet(path: Path) -> Table:
    """Open a Parquet file.

    Raises:
        DataError: when the file is damaged.
    """
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged_parquet(path, error) from None
    columns = tuple(file.schema_arrow.names)
    return Table(columns, _parquet_rows(path, file, columns))


def _damaged_parquet(path: Path, error: Exception) -> DataError:
    return DataError(
        f"this is not a readable Parquet file ({type(error).__name__})",
        file=path,
        remedy="the file was damaged or cut short: make it or fetch it again",
    )


def _parquet_rows(path: Path, file: Any, columns: Sequence[str]) -> Iterator[RawRow]:
    number = 0
    with file:
        try:
            for batch in file.iter_batches(batch_size=_BATCH):
                arrays = [column.to_pylist() for column in batch.columns]
                for values in zip(*arrays, strict=True):
                    number += 1
                    if (row := _raw_row(number, columns, values)) is not None:
                        yield row
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged_parquet(path, error) from None


def open_datasets(parts: Sequence[Any]) -> Table:
    """Open `datasets.Dataset` objects one after the other, as one table."""
    columns = tuple(dict.fromkeys(name for part in parts for name in part.column_names))
    return Table(columns, _dataset_rows(parts, columns))


def _dataset_rows(parts: Sequence[Any], columns: Sequence[str]) -> Iterator[RawRow]:
    numbered = enumerate(chain.from_iterable(parts), start=1)
    while batch := list(islice(numbered, _BATCH)):
        for number, value in batch:
            row = _raw_row(number, columns, (value.get(name) for name in columns))
            if row is not None:
                yield row


def _empty(path: Path) -> DataError:
    return DataError("the file is empty", file=path, remedy="check that it was fetched completely")
