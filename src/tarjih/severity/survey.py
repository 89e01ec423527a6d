"""A look at every row of a data file before hours are spent on scoring it.

It finds what would stop the work later (a damaged row, an empty complaint, a label that is none of
the three), whether the text is Arabic at all, and which complaints are the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tarjih.arabic.normalise import clean_text
from tarjih.data.columns import ColumnMap, find_columns
from tarjih.data.labels import parse_severity
from tarjih.data.read import Fault, FaultKind, is_missing
from tarjih.data.sources import Source, find_source, open_table, source_digest
from tarjih.data.tables import RawRow
from tarjih.errors import DataError
from tarjih.progress import Advance
from tarjih.severity.answered import AnsweredComplaints, told_apart
from tarjih.severity.calibration import Integers

# Rows whose complaints are remembered: 16 bytes each, and as many again while they are sorted.
REMEMBERED_ROWS = 1 << 22
_DIGEST_BYTES = 16
_BATCH = 4096  # rows in memory at a time
_ARABIC_LETTER = re.compile(
    "["
    "\u0620-\u063f"  # ARABIC LETTER KASHMIRI YEH .. ARABIC LETTER FARSI YEH WITH THREE DOTS ABOVE
    "\u0641-\u064a"  # ARABIC LETTER FEH .. ARABIC LETTER YEH
    "\u066e-\u066f"  # ARABIC LETTER DOTLESS BEH, ARABIC LETTER DOTLESS QAF
    "\u0671-\u06d3"  # ARABIC LETTER ALEF WASLA .. ARABIC LETTER YEH BARREE WITH HAMZA ABOVE
    "\u0750-\u077f"  # ARABIC LETTER BEH WITH THREE DOTS HORIZONTALLY BELOW .. the block's last
    "\u08a0-\u08c7"  # ARABIC LETTER BEH WITH SMALL V BELOW .. the last letter of Unicode 13
    "]"
)


@dataclass(frozen=True, slots=True)
class DataFile:
    """A source whose columns were found, and whose rows can be read again and again.

    Attributes:
        given: the name as the user gave it, for errors.
        columns: its columns, in order.
        found: which of them holds what.
        reads_responses: whether every complaint must come with its response.
    """

    given: str
    columns: tuple[str, ...]
    found: ColumnMap
    _source: Source
    _told: Mapping[str, str] | None
    _encoding: str | None
    reads_responses: bool

    @classmethod
    def find(
        cls,
        data: str | Path,
        *,
        columns: Mapping[str, str] | None,
        encoding: str | None,
        reads_responses: bool = False,
    ) -> DataFile:
        """Find the columns of a source; see `open_rows` for the arguments.

        Raises:
            DataError: when it cannot be read, or has no column of complaints or of responses that
                are to be read.
        """
        source = find_source(data)
        names = open_table(source, encoding=encoding, columns=columns).columns
        found = find_columns(
            names, told=columns, file=source.given, require_response=reads_responses
        )
        return cls(source.given, names, found, source, columns, encoding, reads_responses)

    def batches(self, rows: int) -> Iterator[list[RawRow]]:
        """All rows from the first on, so many at a time.

        Raises:
            DataError: while reading, when the file turns out to be damaged.
        """
        table = open_table(self._source, encoding=self._encoding, columns=self._told)
        while batch := list(islice(table.rows, rows)):
            yield batch

    def complaints(self, rows: Sequence[RawRow]) -> Sequence[str]:
        """The cleaned complaints of rows, with their responses where these are to be read.

        Raises:
            DataError: when a row is damaged or lacks one.
        """
        complaints = [self._complaint(row) for row in rows]
        if not self.reads_responses:
            return complaints
        return AnsweredComplaints(complaints, [self._response(row) for row in rows])

    def _complaint(self, row: RawRow) -> str:
        if row.damage is not None:
            raise DataError(
                row.damage, file=self.given, row=row.number, remedy="mend the row, or leave it out"
            )
        complaint = self._text(row, "complaint")
        if not complaint:
            raise DataError(
                "the row has no complaint, so its severity cannot be told",
                file=self.given,
                row=row.number,
                column=self.found.names["complaint"],
                remedy="run `tarjih prepare` first, which drops such rows and counts them",
            )
        return complaint

    def _response(self, row: RawRow) -> str:
        response = self._text(row, "response")
        if not response:
            raise DataError(
                "the row has no response, which this annotator reads to tell its severity",
                file=self.given,
                row=row.number,
                column=self.found.names["response"],
                remedy="leave such rows out, or score with an annotator that was fitted with "
                "responses=teach or responses=ignored",
            )
        return response

    def _text(self, row: RawRow, name: str) -> str:
        text = row.cells.get(self.found.names[name])
        return "" if text is None or is_missing(text) else clean_text(text)

    def identity(self) -> dict[str, Any]:
        """What was read and how, as JSON; the same for a copy under another name."""
        return {
            "sha256": source_digest(self._source),
            "columns": dict(self.found.names),
            "encoding": self._encoding,
        }


class Repeats:
    """Where each complaint occurs first, among the first `REMEMBERED_ROWS` rows.

    Complaints are compared by 128 bits of BLAKE2b, so that the memory is bounded and does not hold
    what patients wrote; among four million, two different ones are taken for the same with a
    probability of 3e-26.
    """

    def __init__(self, complaints: Digests) -> None:
        """Sort the digests of the first rows, (n,), in their order."""
        self._digests, self._rows = np.unique(complaints, return_index=True)

    def first_rows(self, complaints: Sequence[str], start: int) -> Integers:
        """The row where each complaint occurs first; its own, where that is not remembered.

        Args:
            complaints: of n rows that follow each other.
            start: the first of these rows, counted from 0.

        Returns:
            (n,) rows, none after the complaint's own.
        """
        own = np.arange(start, start + len(complaints))
        if len(self._digests) == 0:
            return own
        wanted = digests_of(complaints)
        places = np.minimum(np.searchsorted(self._digests, wanted), len(self._digests) - 1)
        known = self._digests[places] == wanted
        return np.asarray(np.where(known, self._rows[places], own), dtype=np.int64)


Digests = npt.NDArray[np.bytes_]


def digests_of(complaints: Sequence[str]) -> Digests:
    """128 bits of BLAKE2b of each text, (n,)."""
    digests = [
        hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest() for text in complaints
    ]
    return np.asarray(digests, dtype=f"S{_DIGEST_BYTES}")


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What a look at every row found.

    Attributes:
        rows: how many there are, at least one.
        repeats: which complaints are the same.
        without_arabic: rows whose complaint holds no Arabic letter.
        first_without_arabic: the number of the first of them.
    """

    rows: int
    repeats: Repeats
    without_arabic: int
    first_without_arabic: int | None


def survey_file(file: DataFile, advance: Advance) -> Survey:
    """Read every row once.

    Args:
        file: the data.
        advance: called with the rows read since the last call.

    Raises:
        DataError: naming the first row that is damaged, has no complaint, or has a label that is
            none of the three; when there is no row; or when fewer than half of the complaints hold
            an Arabic letter, naming the first of those.
    """
    rows = without = 0
    first_without: int | None = None
    digests: list[Digests] = []
    labels = _Labels(file)
    for batch in file.batches(_BATCH):
        complaints = file.complaints(batch)
        for row, complaint in zip(batch, complaints, strict=True):
            labels.check(row)
            if _ARABIC_LETTER.search(complaint) is None:
                without += 1
                first_without = row.number if first_without is None else first_without
        if rows < REMEMBERED_ROWS:
            digests.append(digests_of(told_apart(complaints)[: REMEMBERED_ROWS - rows]))
        rows += len(batch)
        advance(len(batch))
    if rows == 0:
        raise DataError(
            "the file has a header but no rows", file=file.given, remedy="check its contents"
        )
    if 2 * (rows - without) < rows:
        raise _not_arabic(file, rows, without, first_without)
    return Survey(rows, Repeats(np.concatenate(digests)), without, first_without)


class _Labels:
    """Checks people's labels; what `tarjih train` could not read is not written for it either."""

    def __init__(self, file: DataFile) -> None:
        self._file = file.given
        self._column = file.found.label_column
        self._known: set[str] = set()

    def check(self, row: RawRow) -> None:
        text = None if self._column is None else row.cells.get(self._column)
        if text is None or text in self._known:
            return
        if not is_missing(text):
            try:
                parse_severity(text)
            except ValueError as error:
                fault = Fault(FaultKind.UNKNOWN_SEVERITY, str(error), self._column, text)
                raise fault.as_error(self._file, row.number) from None
        self._known.add(text)


def _not_arabic(file: DataFile, rows: int, without: int, row: int | None) -> DataError:
    return DataError(
        f"this complaint holds no Arabic letter, and so do {without:,} of {rows:,}: "
        "this is not Arabic text",
        file=file.given,
        row=row,
        column=file.found.names["complaint"],
        remedy="name the column that holds the complaints (--column complaint=NAME), or how the "
        "file is encoded (--encoding cp1256)",
    )
