"""Scored consultations in the layout that the paper's severity-augmented MAQA is published in.

Six columns: Question, Answer, Severity (the most likely one, in Arabic) and the probabilities of
non-critical, neutral and critical, headed in Arabic. `data.read` takes the file back as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tarjih.arabic.normalise import clean_text
from tarjih.data.labels import ARABIC_NAMES
from tarjih.data.read import OpenedRows, Row, open_rows
from tarjih.data.write import TableCell, write_table
from tarjih.errors import DataError
from tarjih.records import SEVERITIES

PAPER_COLUMNS = ("Question", "Answer", "Severity", *(ARABIC_NAMES[one] for one in SEVERITIES))
_WIDTHS = (80, 60, 12, 10, 10, 10)
_BATCH = 1024  # rows between two calls of `progress`


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """What `export_file` wrote.

    Attributes:
        file: the table.
        rows: how many rows it holds.
        other_labels: rows whose label, set by a person, is not the most likely severity; the six
            columns have no place for it.
    """

    file: Path
    rows: int
    other_labels: int


def export_file(
    data: str | Path,
    out: Path,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExportedFile:
    """Write scored consultations in the paper's six columns; rows are streamed.

    Complaints and responses are written cleaned, as models read them, and probabilities from 0 to 1
    with all their digits (16 of them in a workbook). No text is taken for a formula (see
    `data.write`).

    Args:
        data: a source with responses and probabilities, such as `severity.annotate.score_file`
            writes.
        out: a path ending in .xlsx or .csv.
        columns: our column name -> the file's, where the names do not tell.
        encoding: of a text file, where it is not recognised.
        progress: called now and then with the number of rows written since the last call.

    Raises:
        DataError: when there are no responses or no probabilities, in the file or in a row, or a
            value cannot be used, or `out` is neither or cannot hold a row.
    """
    opened = open_rows(data, columns=columns, encoding=encoding)
    if not opened.columns.has_probabilities:
        raise DataError(
            "the file has no severity probabilities",
            file=str(data),
            remedy="estimate them first: tarjih severity fit, then tarjih severity score",
        )
    counted = _Counted(opened, progress)
    write_table(out, PAPER_COLUMNS, counted.cells(), widths=_WIDTHS)
    return ExportedFile(out, counted.rows, counted.other_labels)


class _Counted:
    """The cells of opened rows, with what was seen on the way."""

    def __init__(self, opened: OpenedRows, progress: Callable[[int], None] | None) -> None:
        self.rows = 0
        self.other_labels = 0
        self._opened = opened
        self._progress = progress

    def cells(self) -> Iterator[tuple[TableCell, ...]]:
        for row in self._opened.rows:
            yield self._cells(row)
            self.rows += 1
            if self._progress is not None and self.rows % _BATCH == 0:
                self._progress(_BATCH)

    def _cells(self, row: Row) -> tuple[TableCell, ...]:
        if row.faults:
            raise row.faults[0].as_error(row.file, row.number)
        complaint, response = clean_text(row.complaint), clean_text(row.response)
        for column, there in (("complaint", complaint), ("response", response)):
            if not there:
                remedy = "fill it in or take the row out; `tarjih prepare` sets such rows aside"
                raise _missing(row, column, remedy)
        if row.probabilities is None:
            remedy = "score the whole file again: tarjih severity score"
            raise _missing(row, "probabilities", remedy)
        severity = row.probabilities.most_likely
        self.other_labels += row.labelled_severity not in (None, severity)
        return (complaint, response, ARABIC_NAMES[severity], *row.probabilities.as_tuple())


def _missing(row: Row, column: str, remedy: str) -> DataError:
    return DataError(
        "the value is missing", file=row.file, row=row.number, column=column, remedy=remedy
    )
