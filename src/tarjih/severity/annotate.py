"""Fit an annotator on labelled complaints, score files with it, and measure it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tarjih.arabic.normalise import clean_text
from tarjih.data.columns import ColumnMap, find_columns
from tarjih.data.read import is_missing, read_consultations
from tarjih.data.sources import find_source, open_table
from tarjih.data.tables import RawRow
from tarjih.errors import DataError
from tarjih.files import atomic_file
from tarjih.records import (
    PROBABILITY_COLUMNS,
    SEVERITIES,
    Consultation,
    Severity,
    SeverityDistribution,
)
from tarjih.severity.annotator import (
    Annotator,
    AnnotatorSettings,
    ScoredComplaints,
    annotator_class,
    load_annotator,
)
from tarjih.severity.measures import SeverityMeasures, measure

LABEL_COLUMN = "labelled_severity"
SEVERITY_COLUMN = "severity"
METADATA_KEY = b"tarjih.annotator"
_BATCH = 4096  # rows in memory at a time


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """What `score_file` wrote.

    Attributes:
        file: the Parquet file.
        rows: how many rows it holds.
        out_of_fold_rows: of those, complaints that the annotator was fitted on; they carry the
            probabilities of a model that did not see them.
        rows_by_severity: rows by their most likely severity.
    """

    file: Path
    rows: int
    out_of_fold_rows: int
    rows_by_severity: dict[Severity, int]


def fit_annotator(labelled: Sequence[Consultation], settings: AnnotatorSettings) -> Annotator[Any]:
    """Fit the annotator that the settings name on complaints that people labelled.

    Raises:
        DataError: when a row has no label, a severity is missing, or there are too few rows.
        ModelError: when there is no annotator of that kind.
    """
    complaints = [consultation.complaint for consultation in labelled]
    return annotator_class(settings.kind).fit(complaints, _labels(labelled), settings)


def score_consultations(
    annotator: Annotator[Any], consultations: Sequence[Consultation]
) -> list[Consultation]:
    """The consultations with the annotator's probabilities; everything else stays as it is."""
    scored = annotator.score([consultation.complaint for consultation in consultations])
    return [
        replace(consultation, probabilities=SeverityDistribution(*map(float, row)))
        for consultation, row in zip(consultations, scored.probabilities, strict=True)
    ]


def evaluate_file(
    model_folder: Path,
    labelled: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
) -> SeverityMeasures:
    """Measure an annotator on a file with people's labels.

    Complaints that it was fitted on are scored out of fold; the measures say how many they are.

    Raises:
        ModelError: when the folder is not an annotator.
        DataError: when the file cannot be read or a row has no label.
    """
    annotator = load_annotator(model_folder)
    consultations = read_consultations(
        labelled, columns=columns, encoding=encoding, require_severity=True
    )
    scored = annotator.score([consultation.complaint for consultation in consultations])
    return measure(
        scored.probabilities, _labels(consultations), out_of_fold_rows=scored.out_of_fold_rows
    )


def score_file(
    model_folder: Path,
    data: str | Path,
    out: Path,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> ScoredFile:
    """Write a data file again, as Parquet, with the severity of each complaint.

    All rows (but wholly blank ones) stay, in their order, and all columns stay, as text. Added are
    `severity` (the most likely one), `p_non_critical`, `p_neutral` and `p_critical`. What a person
    labelled is kept as `labelled_severity`; earlier probabilities, and the severity that was
    derived from them, are replaced. The annotator's signature is in the file's metadata under
    `tarjih.annotator`. The rows are streamed, and the file appears only when it is complete.

    Args:
        model_folder: an annotator's folder.
        data: Excel, CSV, TSV, JSON lines or Parquet, or another source that `open_rows` takes.
        out: a path ending in .parquet.
        columns: our column name -> the file's, where the names do not tell.
        encoding: of a text file, where it is not recognised.
        progress: called with the number of rows written since the last call.

    Raises:
        ModelError: when the folder is not an annotator.
        DataError: when the file cannot be read, or a row is damaged or has no complaint.
    """
    if out.suffix != ".parquet":
        raise DataError(
            "scored data are written as Parquet", file=out, remedy="end the name in .parquet"
        )
    annotator = load_annotator(model_folder)
    table = open_table(find_source(data), encoding=encoding, columns=columns)
    found = find_columns(table.columns, told=columns, file=str(data), require_response=False)
    kept = _kept_columns(table.columns, found, str(data))
    schema = _schema(kept.values(), annotator)
    counts: Counter[Severity] = Counter()
    known = 0
    with atomic_file(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        while batch := list(islice(table.rows, _BATCH)):
            scored = annotator.score(_complaints(batch, found.names["complaint"], str(data)))
            cells = _cells(batch, kept, scored)
            writer.write_table(pa.table(cells, schema=schema))
            counts.update(Severity(name) for name in cells[SEVERITY_COLUMN])
            known += scored.out_of_fold_rows
            if progress is not None:
                progress(len(batch))
    by_severity = {severity: counts[severity] for severity in SEVERITIES}
    return ScoredFile(out, counts.total(), known, by_severity)


def _labels(consultations: Sequence[Consultation]) -> list[Severity]:
    labels = []
    for number, consultation in enumerate(consultations, start=1):
        if consultation.labelled_severity is None:
            raise DataError(
                f"the complaint with id {consultation.id!r} has no label",
                row=number,
                column=LABEL_COLUMN,
                remedy="give every row a severity that a person chose, or leave the row out",
            )
        labels.append(consultation.labelled_severity)
    return labels


def _kept_columns(columns: Sequence[str], found: ColumnMap, file: str) -> dict[str, str]:
    # The file's name -> the name in what is written, for all columns that are not replaced.
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


def _schema(own: Iterable[str], annotator: Annotator[Any]) -> pa.Schema:
    fields = [(name, pa.string()) for name in own]
    fields.append((SEVERITY_COLUMN, pa.string()))
    fields.extend((name, pa.float64()) for name in PROBABILITY_COLUMNS)
    signature = json.dumps(annotator.signature(), ensure_ascii=False, sort_keys=True)
    return pa.schema(fields, metadata={METADATA_KEY: signature.encode()})


def _complaints(batch: Sequence[RawRow], column: str, file: str) -> list[str]:
    complaints = []
    for row in batch:
        if row.damage is not None:
            raise DataError(
                row.damage, file=file, row=row.number, remedy="mend the row, or leave it out"
            )
        text = row.cells.get(column)
        complaint = "" if text is None or is_missing(text) else clean_text(text)
        if not complaint:
            raise DataError(
                "the row has no complaint, so its severity cannot be told",
                file=file,
                row=row.number,
                column=column,
                remedy="run `tarjih prepare` first, which drops such rows and counts them",
            )
        complaints.append(complaint)
    return complaints


def _cells(
    batch: Sequence[RawRow], kept: Mapping[str, str], scored: ScoredComplaints
) -> dict[str, list[Any]]:
    cells: dict[str, list[Any]] = {
        name: [row.cells.get(column) for row in batch] for column, name in kept.items()
    }
    rows = [SeverityDistribution(*map(float, row)) for row in scored.probabilities]
    cells[SEVERITY_COLUMN] = [str(row.most_likely) for row in rows]
    for place, name in enumerate(PROBABILITY_COLUMNS):
        cells[name] = [row.as_tuple()[place] for row in rows]
    return cells
