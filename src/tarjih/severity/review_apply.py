"""Reviewers' decisions put into the data: a new file, and a record of who changed what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tarjih.data.columns import find_columns
from tarjih.data.labels import ARABIC_NAMES
from tarjih.data.read import open_rows
from tarjih.data.sources import find_source, open_table
from tarjih.data.tables import Table
from tarjih.data.write import WRITABLE_SUFFIXES, as_cell, write_table
from tarjih.errors import DataError, shorten
from tarjih.files import atomic_file, write_json_lines
from tarjih.records import Severity
from tarjih.severity.review import (
    Decision,
    complaint_print,
    in_order,
    labels_by_reviewer,
    majority,
)
from tarjih.severity.review_sheet import read_sheets
from tarjih.severity.scored_table import LABEL_COLUMN

_SUFFIXES = (".parquet", *WRITABLE_SUFFIXES)
_BATCH = 2048
_OTHER_DATA = "give the data that the sheet was written from, or write a new sheet from these"

Rows = dict[int, Severity | None]  # rows of the data by number, with the label that they have
Relabel = Callable[[int, object], object]  # (row number, cell) -> what the cell becomes


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply_sheets` wrote.

    Attributes:
        file: the data with the reviewers' labels.
        record: JSON lines, one for each decision.
        complaints: how many were reviewed.
        changed_rows: rows of the data that have another label now.
        confirmed: complaints whose rows all had the label that the reviewers chose.
        undecided: ids of complaints on whose label no majority agrees; their rows keep theirs.
    """

    file: Path
    record: Path
    complaints: int
    changed_rows: int
    confirmed: int
    undecided: tuple[str, ...]


def apply_sheets(
    data: str | Path,
    sheets: Sequence[Path],
    out: Path,
    record: Path,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
) -> Applied:
    """Give complaints the label that most of their reviewers chose.

    All rows and columns are kept, in their order; only wholly blank rows go, unless Parquet becomes
    Parquet. A new label is spelled as the one in its place: in Arabic where that is Arabic. Where
    the data have no column of labels, `labelled_severity` is added.

    Args:
        data: the source that the sheets were written from; its rows may have moved since.
        sheets: workbooks that reviewers have filled in.
        out: a path ending in .parquet, .csv or .xlsx; see `data.write` for texts like formulas.
        record: a path for JSON lines with id, before, after, decided, reviewer, comment, sheet,
            date and rows, the numbers of the rows that hold the complaint.
        columns: our column name -> the file's, where the names do not tell.
        encoding: of a text file, where it is not recognised.

    Raises:
        DataError: when a sheet cannot be used, is about complaints or labels that the data do not
            have, or a reviewer contradicts themselves; names the sheet and its row.
    """
    if out.suffix.lower() not in _SUFFIXES:
        raise DataError(
            f"data are not written as {out.suffix or 'a file without an ending'}",
            file=out,
            remedy=f"end the name in one of {', '.join(_SUFFIXES)}",
        )
    given = labels_by_reviewer(read_sheets(sheets))
    rows_of = _find_rows(data, set(given), columns, encoding)
    for complaint, by_reviewer in given.items():
        for decision in by_reviewer.values():
            _check(decision, rows_of.get(complaint, {}), data)
    decided = {complaint: majority(by_reviewer) for complaint, by_reviewer in given.items()}
    moved = {
        row: label
        for complaint, label in decided.items()
        if label is not None
        for row, before in rows_of[complaint].items()
        if before is not label
    }
    _write(data, out, moved, columns, encoding)  # first: it may refuse, and then nothing is written
    write_json_lines(record, _lines(given, decided, rows_of))
    return Applied(
        out,
        record,
        complaints=len(given),
        changed_rows=len(moved),
        confirmed=sum(set(rows_of[one].values()) == {label} for one, label in decided.items()),
        undecided=tuple(
            next(iter(given[one].values())).id for one, label in decided.items() if label is None
        ),
    )


def _find_rows(
    data: str | Path,
    complaints: set[str],
    columns: Mapping[str, str] | None,
    encoding: str | None,
) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in open_rows(data, columns=columns, encoding=encoding, require_response=False).rows:
        if row.faults:
            raise row.faults[0].as_error(row.file, row.number)
        complaint = complaint_print(row.complaint)
        if complaint in complaints:
            found.setdefault(complaint, {})[row.number] = row.labelled_severity
    return found


def _check(decision: Decision, rows: Rows, data: str | Path) -> None:
    where = f"the complaint with id {shorten(decision.id)}"
    if not rows:
        raise DataError(
            f"{where} is not in {data}, or its text was changed",
            file=decision.sheet,
            row=decision.row,
            remedy=_OTHER_DATA,
        )
    labels = in_order(list(rows.values()))
    if decision.before != labels:
        raise DataError(
            f"{where} is {_spoken(labels)} in {data}, but {_spoken(decision.before)} in the sheet",
            file=decision.sheet,
            row=decision.row,
            column="label",
            remedy=f"{_OTHER_DATA}; a reviewer's label goes into the column 'new label'",
        )


def _spoken(labels: Sequence[Severity]) -> str:
    return " and ".join(labels) or "not labelled"


def _lines(
    given: Mapping[str, Mapping[str, Decision]],
    decided: Mapping[str, Severity | None],
    rows_of: Mapping[str, Rows],
) -> Iterator[dict[str, Any]]:
    for complaint, by_reviewer in given.items():
        for decision in by_reviewer.values():
            yield {
                "id": decision.id,
                "before": list(decision.before),
                "after": decision.after,
                "decided": decided[complaint],
                "reviewer": decision.reviewer,
                "comment": decision.comment,
                "sheet": Path(decision.sheet).name,
                "date": decision.date,
                "rows": sorted(rows_of[complaint]),
            }


def _write(
    data: str | Path,
    out: Path,
    moved: Mapping[int, Severity],
    columns: Mapping[str, str] | None,
    encoding: str | None,
) -> None:
    source = find_source(data)
    table = open_table(source, encoding=encoding, columns=columns)
    found = find_columns(table.columns, told=columns, file=str(data), require_response=False)
    column = found.label_column or LABEL_COLUMN

    def relabel(number: int, cell: object) -> object:
        return _spelled(moved[number], cell) if number in moved else cell

    if out.suffix.lower() != ".parquet":
        names, rows = _text_rows(table, column, relabel)
        write_table(out, names, ([as_cell(cell) for cell in row] for row in rows))
    elif source.path is not None and source.path.suffix.lower() == ".parquet":
        _write_parquet(source.path, out, column, relabel)
    else:
        _write_as_parquet(out, *_text_rows(table, column, relabel))


def _spelled(label: Severity, before: object) -> str:
    in_arabic = any("\u0600" <= character <= "\u06ff" for character in str(before))
    return ARABIC_NAMES[label] if in_arabic else str(label)


def _text_rows(
    table: Table, column: str, relabel: Relabel
) -> tuple[tuple[str, ...], Iterator[list[str | None]]]:
    names = tuple(dict.fromkeys([*table.columns, column]))

    def rows() -> Iterator[list[str | None]]:
        for row in table.rows:
            label = relabel(row.number, row.cells.get(column))
            cells = {**row.cells, column: None if label is None else str(label)}
            yield [cells.get(name) for name in names]

    return names, rows()


def _write_as_parquet(
    out: Path, names: Sequence[str], rows: Iterator[Sequence[str | None]]
) -> None:
    schema = pa.schema([(name, pa.string()) for name in names])
    with atomic_file(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        while batch := list(islice(rows, _BATCH)):
            cells = dict(zip(names, zip(*batch, strict=True), strict=True))
            writer.write_table(pa.table({n: list(c) for n, c in cells.items()}, schema=schema))


def _write_parquet(source: Path, out: Path, column: str, relabel: Relabel) -> None:
    """From Parquet to Parquet, types and metadata are kept."""
    with pq.ParquetFile(source) as file:
        schema = file.schema_arrow
        if column not in schema.names:
            schema = schema.append(pa.field(column, pa.string()))
        place = schema.get_field_index(column)
        number = 0
        with atomic_file(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for batch in file.iter_batches(batch_size=_BATCH):
                arrays = list(batch.columns)
                known = place < len(arrays)
                before = arrays[place].to_pylist() if known else [None] * len(batch)
                after = [relabel(number + row, one) for row, one in enumerate(before, start=1)]
                arrays[place : place + 1] = [pa.array(after, type=schema.field(place).type)]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
                number += len(batch)
