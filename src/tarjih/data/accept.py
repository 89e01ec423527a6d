"""The first pass of `prepare`: read, clean, set aside, and fingerprint every row."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tarjih.arabic.normalise import comparison_key
from tarjih.data.clean import EMAIL_MASK, PHONE_MASK, RejectReason, clean_row, reject_reason
from tarjih.data.duplicates import Fingerprints
from tarjih.data.read import Fault, OpenedRows, Row, UniqueIds
from tarjih.records import PROBABILITY_COLUMNS, SEVERITIES, Severity

_CHUNK_ROWS = 2048
UNLABELLED = "unlabelled"

SCHEMA = pa.schema(
    [
        *[pa.field(name, pa.string(), nullable=False) for name in ("id", "complaint", "response")],
        pa.field("specialty", pa.string()),
        pa.field("dialect", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("labelled_severity", pa.string()),
        *[pa.field(name, pa.float64()) for name in PROBABILITY_COLUMNS],
    ]
)


class Accepted:
    """Collects the rows that pass in a Parquet file, and those that do not in a list of rejects.

    Attributes:
        rows_read, masked_rows: counts of rows.
        rejected: source name -> reason -> rows.
        accepted: source name -> rows.
        faults: the first faults, as (file, row, fault), at most `SHOWN_FAULTS`.
        fault_count: how many rows have faults.
        strata: the severity of each accepted row, with where it comes from.
        ids: makes ids unique and counts those that were repeated.
    """

    SHOWN_FAULTS = 5

    def __init__(
        self, folder: Path, *, mask: bool, progress: Callable[[int], None] | None = None
    ) -> None:
        self.file = folder / "accepted.parquet"
        self.rows_read = 0
        self.masked_rows = 0
        self.rejected: dict[str, Counter[str]] = {}
        self.accepted: Counter[str] = Counter()
        self.faults: list[tuple[str, int, Fault]] = []
        self.fault_count = 0
        self.strata: list[str] = []
        self.ids = UniqueIds()
        self._mask = mask
        self._progress = progress
        self._seen: dict[int, Severity | None] = {}
        self._chunk: list[dict[str, Any]] = []
        self._keys: list[str] = []
        self._prints: list[Fingerprints] = []
        self._rejects = (folder / "rejects.jsonl").open("w", encoding="utf-8")
        self._writer = pq.ParquetWriter(self.file, SCHEMA, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._rejects.close()
        self._writer.close()
        # Only reading needs these, and the grouping that follows needs the memory.
        self._seen.clear()
        self.ids.forget()

    def add_source(self, name: str, opened: OpenedRows) -> None:
        """Take all rows of a source."""
        rejected = self.rejected.setdefault(name, Counter())
        for row in opened.rows:
            self.rows_read += 1
            reason = self._add(name, row)
            if reason is not None:
                rejected[reason.value] += 1
                self._reject(name, row, reason)
            if self.rows_read % _CHUNK_ROWS == 0:
                self._flush()
        self._flush()

    def fingerprints(self) -> Fingerprints:
        """The fingerprints of all accepted rows; hands them over and keeps none."""
        return Fingerprints.joined(self._prints)

    def _add(self, name: str, raw: Row) -> RejectReason | None:
        row = clean_row(raw, mask=self._mask)
        reason = reject_reason(row)
        if reason is not None:
            return reason
        key = comparison_key(row.complaint)
        reason = self._repeated(row, key)
        if reason is not None:
            return reason
        texts = (row.complaint, row.response)
        self.masked_rows += any(m in text for text in texts for m in (EMAIL_MASK, PHONE_MASK))
        self.accepted[name] += 1
        self.strata.append(_stratum(row))
        self._keys.append(key)
        self._chunk.append(_record(row, self.ids.take(row.id), name))
        return None

    def _repeated(self, row: Row, key: str) -> RejectReason | None:
        both = f"{key}\n{comparison_key(row.response)}".encode()
        print_ = int.from_bytes(hashlib.blake2b(both, digest_size=8).digest(), "big")
        if print_ not in self._seen:
            self._seen[print_] = row.labelled_severity
            return None
        same = row.labelled_severity in (None, self._seen[print_])
        return RejectReason.DUPLICATE if same else RejectReason.DUPLICATE_OTHER_LABEL

    def _reject(self, name: str, row: Row, reason: RejectReason) -> None:
        if row.faults:
            self.fault_count += 1
            if len(self.faults) < self.SHOWN_FAULTS:
                self.faults.append((row.file, row.number, row.faults[0]))
        entry = {"file": name, "row": row.number, "id": row.id, "reason": reason.value}
        self._rejects.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _flush(self) -> None:
        if self._chunk:
            self._writer.write_table(pa.Table.from_pylist(self._chunk, schema=SCHEMA))
            self._prints.append(Fingerprints.of(self._keys))
            self._chunk, self._keys = [], []
        if self._progress is not None:
            self._progress(self.rows_read)


def _stratum(row: Row) -> str:
    if row.labelled_severity is not None:
        return _LABELLED[row.labelled_severity]
    if row.probabilities is not None:
        return _ESTIMATED[row.probabilities.most_likely]
    return UNLABELLED


# Looked up, so that half a million rows share seven strings.
_LABELLED: Mapping[Severity, str] = {severity: f"labelled {severity}" for severity in SEVERITIES}
_ESTIMATED: Mapping[Severity, str] = {severity: f"estimated {severity}" for severity in SEVERITIES}


def _record(row: Row, unique_id: str, source: str) -> dict[str, Any]:
    known = row.probabilities
    probabilities = (None, None, None) if known is None else known.as_tuple()
    return {
        "id": unique_id,
        "complaint": row.complaint,
        "response": row.response,
        "specialty": row.specialty,
        "dialect": row.dialect,
        "source": source,
        "labelled_severity": None if row.labelled_severity is None else str(row.labelled_severity),
        **dict(zip(PROBABILITY_COLUMNS, probabilities, strict=True)),
    }
