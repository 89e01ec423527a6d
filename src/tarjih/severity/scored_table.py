"""The table that scoring writes: the columns of the data, and the severity of each complaint."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tarjih.data.columns import ColumnMap
from tarjih.data.tables import RawRow
from tarjih.errors import DataError
from tarjih.files import sha256_of
from tarjih.records import PROBABILITY_COLUMNS, SEVERITIES, Severity
from tarjih.severity.calibration import most_likely
from tarjih.severity.shards import Scores

LABEL_COLUMN = "labelled_severity"
SEVERITY_COLUMN = "severity"
METADATA_KEY = "tarjih.annotator"
_RECORD_KEY = "tarjih.scored"


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """What scoring wrote.

    Attributes:
        file: the Parquet file.
        rows: how many rows it holds.
        scored_complaints: how many complaints the annotator read; the other rows repeat them.
        out_of_fold_rows: rows whose complaint the annotator was fitted on; they carry the
            probabilities of a model that did not see it.
        rows_by_severity: rows by their most likely severity.
    """

    file: Path
    rows: int
    scored_complaints: int
    out_of_fold_rows: int
    rows_by_severity: dict[Severity, int]


class Totals:
    """Sums over the rows that were written."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts = Counter(counts or {})

    def add(self, severities: Sequence[str], scored: int, scores: Scores) -> None:
        """Count a batch of rows, of whose complaints so many were read by the annotator."""
        self._counts.update(severities)
        self._counts.update(
            rows=len(severities), scored=scored, out_of_fold=int(scores["out_of_fold"].sum())
        )

    def metadata(self, plan: Mapping[str, Any]) -> dict[str, str]:
        """What tells a later call that a file of this plan is finished."""
        return {_RECORD_KEY: json.dumps({"plan_sha256": sha256_of(plan), "totals": self._counts})}

    def of_file(self, out: Path) -> ScoredFile:
        """The totals of a file."""
        return ScoredFile(
            file=out,
            rows=self._counts["rows"],
            scored_complaints=self._counts["scored"],
            out_of_fold_rows=self._counts["out_of_fold"],
            rows_by_severity={severity: self._counts[severity] for severity in SEVERITIES},
        )


def finished(out: Path, plan: Mapping[str, Any]) -> ScoredFile | None:
    """What an earlier call with the same plan wrote, if it came to its end."""
    try:
        # The schema's own metadata do not have what was added when the rows were written.
        metadata = pq.read_metadata(out).metadata or {}
        record = json.loads(metadata.get(_RECORD_KEY.encode(), b"{}"))
    except (OSError, pa.ArrowInvalid, ValueError):
        return None
    if record.get("plan_sha256") != sha256_of(plan):
        return None
    return Totals(record["totals"]).of_file(out)


def kept_columns(columns: Sequence[str], found: ColumnMap, file: str) -> dict[str, str]:
    """The file's name -> the name in what is written, for all columns that are not replaced.

    Raises:
        DataError: when two columns would have one name.
    """
    replaced = {
        found.names[name] for name in (SEVERITY_COLUMN, *PROBABILITY_COLUMNS) if name in found.names
    }
    label = found.label_column
    kept = {
        column: LABEL_COLUMN if column == label else column
        for column in columns
        if column == label or column not in replaced
    }
    written = Counter([*kept.values(), SEVERITY_COLUMN, *PROBABILITY_COLUMNS])
    for name, times in written.items():
        if times > 1:
            raise DataError(
                f"{times} columns of the scored file would be called {name!r}",
                file=file,
                column=name,
                remedy="rename or remove this column of the file, or do not map another to it",
            )
    return kept


def schema(own: Iterable[str], signature: Mapping[str, Any]) -> pa.Schema:
    """The columns of the data as text, then ours; the annotator's signature in the metadata."""
    fields = [(name, pa.string()) for name in own]
    fields.append((SEVERITY_COLUMN, pa.string()))
    fields.extend((name, pa.float64()) for name in PROBABILITY_COLUMNS)
    text = json.dumps(signature, ensure_ascii=False, sort_keys=True)
    return pa.schema(fields, metadata={METADATA_KEY: text})


def cells(batch: Sequence[RawRow], kept: Mapping[str, str], scores: Scores) -> dict[str, list[Any]]:
    """The values of rows with their scores, by column."""
    found: dict[str, list[Any]] = {
        name: [row.cells.get(column) for row in batch] for column, name in kept.items()
    }
    probabilities = scores["probabilities"]
    found[SEVERITY_COLUMN] = [str(SEVERITIES[place]) for place in most_likely(probabilities)]
    for place, name in enumerate(PROBABILITY_COLUMNS):
        found[name] = probabilities[:, place].tolist()
    return found
