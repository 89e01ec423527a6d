"""Rows of consultations out of any source that can be read, with their faults named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path

from tarjih.arabic.normalise import clean_text
from tarjih.data.columns import ColumnMap, find_columns
from tarjih.data.labels import parse_probabilities, parse_severity, probability_scale
from tarjih.data.sources import find_source, open_table
from tarjih.data.tables import RawRow
from tarjih.errors import DataError
from tarjih.records import PROBABILITY_COLUMNS, Consultation, Severity, SeverityDistribution

_PEEKED_ROWS = 200  # enough to tell percentages from fractions
_MISSING = frozenset({"", "nan", "none", "null", "<na>", "n/a", "#n/a"})


class FaultKind(StrEnum):
    """What can be wrong with the values of a row."""

    DAMAGED_ROW = "damaged row"
    UNKNOWN_SEVERITY = "unknown severity"
    INVALID_PROBABILITIES = "invalid probabilities"


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that cannot be used; `value` is a label or numbers, never what a patient wrote."""

    kind: FaultKind
    what: str
    column: str | None = None
    value: str | None = None

    def as_error(self, file: str, row: int) -> DataError:
        """The error for a caller that accepts no faults."""
        return DataError(
            self.what,
            file=file,
            row=row,
            column=self.column,
            value=self.value,
            remedy=REMEDIES[self.kind],
        )


REMEDIES: dict[FaultKind, str] = {
    FaultKind.DAMAGED_ROW: "mend the row",
    FaultKind.UNKNOWN_SEVERITY: "write one of the known labels",
    FaultKind.INVALID_PROBABILITIES: "give three numbers from 0 to 1 (or 0 to 100 in the whole "
    "file) that sum to the whole, or leave all three blank",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the file has it, before cleaning. Texts are empty where the file has none.

    Attributes:
        file: the source as the user gave it.
        number: the row, counted from 1 after the header, blank rows included.
        id: of the id column, else made of the file's name and the row.
    """

    file: str
    number: int
    id: str
    complaint: str
    response: str
    specialty: str | None = None
    dialect: str | None = None
    labelled_severity: Severity | None = None
    probabilities: SeverityDistribution | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenedRows:
    """Rows of a source, which can be read once, and how its columns were found."""

    columns: ColumnMap
    scale: float
    rows: Iterator[Row]


def open_rows(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    labels: Mapping[str, Severity] | None = None,
    require_response: bool = True,
    columns_for_several: bool = False,
) -> OpenedRows:
    """Open a source and find its columns.

    Args:
        source: a file (.xlsx, .csv, .tsv, .jsonl, .ndjson, .parquet), a folder that
            `datasets.save_to_disk` wrote, a hub id, or ``bundled:consultations``.
        columns: our name -> the file's column; the rest is found by name.
        sheet: sheet of a workbook or split of a data set.
        encoding: of text files; None means UTF-8 (or UTF-16 with a byte order mark).
        labels: further severity labels -> what they mean.
        require_response: whether a source without a column of responses is an error.
        columns_for_several: `columns` is for several sources, so that this one may lack some.

    Raises:
        DataError: at once when the source is absent, unreadable, empty, or lacks columns; while
            reading, when the file turns out to be damaged. Bad values are faults of their row.
    """
    found = find_source(source)
    table = open_table(found, sheet=sheet, encoding=encoding, columns=columns)
    where = find_columns(
        table.columns,
        told=columns,
        file=found.given,
        require_response=require_response,
        told_for_several=columns_for_several,
    )
    peeked = list(islice(table.rows, _PEEKED_ROWS))
    if not peeked:
        raise DataError(
            "the file has a header but no rows", file=found.given, remedy="check its contents"
        )
    scale = probability_scale(
        [_texts(raw, where) for raw in peeked] if where.has_probabilities else []
    )
    parser = _RowParser(found.given, found.stem, where, scale, labels)
    return OpenedRows(where, scale, map(parser.parse, chain(peeked, table.rows)))


def read_rows(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
) -> Iterator[Row]:
    """The rows of a source, streaming; see `open_rows` for the arguments and errors."""
    yield from open_rows(source, columns=columns, sheet=sheet, encoding=encoding).rows


def is_missing(text: str | None) -> bool:
    """Whether a cell holds nothing, or a program's word for nothing."""
    return text is None or text.strip().lower() in _MISSING


def _texts(raw: RawRow, where: ColumnMap) -> tuple[str, ...]:
    return tuple((raw.cells.get(where.names[ours]) or "").strip() for ours in PROBABILITY_COLUMNS)


@dataclass(frozen=True, slots=True)
class _RowParser:
    file: str
    stem: str
    where: ColumnMap
    scale: float
    labels: Mapping[str, Severity] | None

    def parse(self, raw: RawRow) -> Row:
        if raw.damage is not None:
            fault = Fault(FaultKind.DAMAGED_ROW, raw.damage)
            made_id = f"{self.stem}-{raw.number}"
            return Row(self.file, raw.number, made_id, "", "", faults=(fault,))
        faults: list[Fault] = []
        return Row(
            self.file,
            raw.number,
            self._cell(raw, "id") or f"{self.stem}-{raw.number}",
            self._cell(raw, "complaint") or "",
            self._cell(raw, "response") or "",
            specialty=self._cell(raw, "specialty"),
            dialect=self._cell(raw, "dialect"),
            labelled_severity=self._label(raw, faults),
            probabilities=self._probabilities(raw, faults),
            faults=tuple(faults),
        )

    def _cell(self, raw: RawRow, ours: str) -> str | None:
        text = raw.cells.get(self.where.names.get(ours, ""))
        return None if text is None or is_missing(text) else text.strip()

    def _label(self, raw: RawRow, faults: list[Fault]) -> Severity | None:
        column = self.where.label_column
        text = None if column is None else raw.cells.get(column)
        if text is None or is_missing(text):
            return None
        try:
            return parse_severity(text, self.labels)
        except ValueError as error:
            faults.append(Fault(FaultKind.UNKNOWN_SEVERITY, str(error), column, text))
            return None

    def _probabilities(self, raw: RawRow, faults: list[Fault]) -> SeverityDistribution | None:
        if not self.where.has_probabilities:
            return None
        texts = _texts(raw, self.where)
        if not any(texts):
            return None
        try:
            return parse_probabilities(texts, self.scale)
        except ValueError as error:
            kind = FaultKind.INVALID_PROBABILITIES
            column = self.where.names[PROBABILITY_COLUMNS[0]]
            faults.append(Fault(kind, str(error), column, " ".join(texts)))
            return None


class UniqueIds:
    """Makes repeated ids unique: the second ``7`` becomes ``7#2``. Depends on the order only."""

    def __init__(self) -> None:
        self.repeated = 0
        self._used: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, wanted: str) -> str:
        """The id to use for a row that wants this one."""
        chosen = wanted
        if wanted in self._used:
            self.repeated += 1
        while chosen in self._used:
            self._last[wanted] = self._last.get(wanted, 1) + 1
            chosen = f"{wanted}#{self._last[wanted]}"
        self._used.add(chosen)
        return chosen

    def forget(self) -> None:
        """Free the memory; keep the count."""
        self._used.clear()
        self._last.clear()


def read_consultations(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    require_response: bool = False,
    require_severity: bool = False,
    require_probabilities: bool = False,
) -> list[Consultation]:
    """Read all consultations of a source and accept no faults. Texts are cleaned, ids are unique.

    Args:
        source: as for `open_rows`.
        columns: our name -> the file's column; the rest is found by name.
        encoding: of text files.
        require_response: every row must have a response.
        require_severity: every row must have a person's severity label.
        require_probabilities: every row must have the three probabilities.

    Raises:
        DataError: naming the first row and value that cannot be used.
    """
    opened = open_rows(
        source, columns=columns, encoding=encoding, require_response=require_response
    )
    _check_columns(opened.columns, str(source), require_severity, require_probabilities)
    ids = UniqueIds()
    consultations: list[Consultation] = []
    for row in opened.rows:
        if row.faults:
            raise row.faults[0].as_error(row.file, row.number)
        consultation = _consultation(row, ids)
        needed = {
            "complaint": bool(consultation.complaint),
            "response": bool(consultation.response) or not require_response,
            "labelled_severity": row.labelled_severity is not None or not require_severity,
            "probabilities": row.probabilities is not None or not require_probabilities,
        }
        for column, there in needed.items():
            if not there:
                raise DataError(
                    "the value is missing",
                    file=row.file,
                    row=row.number,
                    column=column,
                    remedy="fill it in or take the row out; `tarjih prepare` sets such rows aside",
                )
        consultations.append(consultation)
    return consultations


def _check_columns(where: ColumnMap, file: str, severity: bool, probabilities: bool) -> None:
    if severity and where.label_column is None:
        raise DataError(
            "the file has no column with severity labels set by people",
            file=file,
            remedy="name it: --column labelled_severity=NAME",
        )
    if probabilities and not where.has_probabilities:
        raise DataError(
            "the file has no severity probabilities",
            file=file,
            remedy="estimate them first: tarjih severity fit, then tarjih severity score",
        )


def _consultation(row: Row, ids: UniqueIds) -> Consultation:
    return Consultation(
        id=ids.take(row.id),
        complaint=clean_text(row.complaint),
        response=clean_text(row.response),
        specialty=None if row.specialty is None else clean_text(row.specialty) or None,
        dialect=None if row.dialect is None else clean_text(row.dialect) or None,
        labelled_severity=row.labelled_severity,
        probabilities=row.probabilities,
    )
