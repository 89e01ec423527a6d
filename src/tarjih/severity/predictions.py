"""Held-out probabilities of the labelled rows, and the Parquet files that keep them.

A file holds no words of patients: ids, labels, groups of near-duplicates, folds, probabilities.
What decided it is in its metadata, so that it is taken for nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tarjih.arabic.normalise import comparison_key
from tarjih.errors import DataError, ModelError
from tarjih.files import atomic_file
from tarjih.records import PROBABILITY_COLUMNS, SEVERITIES, Consultation, Severity
from tarjih.severity.annotator import Work, annotator_class
from tarjih.severity.answered import AnsweredComplaints, rows_of
from tarjih.severity.calibration import Floats, Integers
from tarjih.severity.cross_fitted import CrossFittedAnnotator, CrossFittedSettings, Part
from tarjih.severity.folds import grouped_folds, near_duplicate_groups
from tarjih.severity.measures import severity_indices
from tarjih.signature import hash_of_consultations

METADATA_KEY = b"tarjih.comparison"


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """n complaints with people's labels.

    Attributes:
        ids: of the consultations.
        complaints: what patients wrote, with the responses.
        labels: what people said of them.
        classes: (n,) the labels as indices into `records.SEVERITIES`.
        groups: (n,) numbers; near-duplicates share one.
        sha256: over everything in the consultations.
    """

    ids: list[str]
    complaints: AnsweredComplaints
    labels: list[Severity]
    classes: Integers
    groups: list[int]
    sha256: str

    @classmethod
    def of(cls, consultations: Sequence[Consultation], similarity: float) -> LabelledRows:
        """Take the labelled rows apart.

        Raises:
            DataError: when a row has no label.
        """
        labels = [one.labelled_severity for one in consultations]
        known = [label for label in labels if label is not None]
        if len(known) < len(labels):
            raise DataError(
                "the row has no severity label",
                row=labels.index(None) + 1,
                remedy="give every row a severity that a person chose, or leave the row out",
            )
        complaints = AnsweredComplaints.of(consultations)
        keys = [comparison_key(complaint) for complaint in complaints]
        return cls(
            ids=[one.id for one in consultations],
            complaints=complaints,
            labels=known,
            classes=severity_indices(known),
            groups=near_duplicate_groups(keys, similarity),
            sha256=hash_of_consultations(consultations),
        )

    def parts(self, folds: int, seed: int) -> list[Part]:
        """(rows to fit on, rows held out) of each fold.

        Raises:
            DataError: when the rows do not suffice for so many folds.
        """
        return grouped_folds(self.labels, self.groups, folds=folds, seed=seed)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """An annotator's probabilities (n, 3) of rows that it did not see, and its signature."""

    probabilities: Floats
    signature: dict[str, Any] = field(default_factory=dict)


def annotator_plan(
    rows: LabelledRows, settings: CrossFittedSettings, *, nested: bool
) -> dict[str, Any]:
    """What decides the held-out probabilities."""
    plan = _class_of(settings).plan(rows.complaints, rows.labels, settings)
    return {**plan, "data_sha256": rows.sha256, "nested": nested}


def predict_held_out(
    rows: LabelledRows, settings: CrossFittedSettings, *, nested: bool, work: Work
) -> HeldOut:
    """Held-out probabilities of all rows.

    Args:
        rows: complaints and labels.
        settings: of the annotator; its folds, similarity and seed decide who is held out.
        nested: fit a whole annotator for each fold, so that the calibrator of a row did not see it
            even through the other folds' models; as many fits again for each fold.
        work: where finished folds are kept.

    Raises:
        DataError: when the rows cannot be learned from.
        ModelError: when there is no annotator of that kind.
    """
    found = _class_of(settings)
    if not nested:
        annotator = found.fit(rows.complaints, rows.labels, settings, work)
        scored = annotator.score(rows.complaints)
        if scored.out_of_fold_rows < len(rows.labels):
            raise ModelError(
                f"the {settings.kind} annotator has no held-out probabilities of its own rows",
                remedy="set nested=true",
            )
        return HeldOut(scored.probabilities, annotator.signature())
    probabilities = np.zeros((len(rows.labels), len(SEVERITIES)))
    for number, (fitted, held_out) in enumerate(rows.parts(settings.folds, settings.seed), 1):
        annotator = found.fit(
            rows_of(rows.complaints, fitted),
            [rows.labels[row] for row in fitted],
            settings,
            work.part(f"outer-{number}"),
        )
        complaints = rows_of(rows.complaints, held_out)
        probabilities[held_out] = annotator.score(complaints, out_of_fold=False).probabilities
    return HeldOut(probabilities, annotator_plan(rows, settings, nested=True))


def write_held_out(
    file: Path, found: HeldOut, rows: LabelledRows, settings: CrossFittedSettings, *, nested: bool
) -> None:
    """Write the probabilities with what decided them, atomically."""
    folds = np.zeros(len(rows.labels), dtype=np.int64)
    for number, (_, held_out) in enumerate(rows.parts(settings.folds, settings.seed), 1):
        folds[held_out] = number
    columns = {
        "id": pa.array(rows.ids, pa.string()),
        "labelled_severity": pa.array([str(label) for label in rows.labels], pa.string()),
        "group": pa.array(rows.groups, pa.int64()),
        "fold": pa.array(folds, pa.int64()),
    }
    for place, name in enumerate(PROBABILITY_COLUMNS):
        columns[name] = pa.array(found.probabilities[:, place], pa.float64())
    said = {
        "plan": annotator_plan(rows, settings, nested=nested),
        "signature": found.signature,
    }
    table = pa.table(columns).replace_schema_metadata(
        {METADATA_KEY: json.dumps(said, ensure_ascii=False, sort_keys=True).encode()}
    )
    with atomic_file(file) as temporary:
        pq.write_table(table, temporary)


def read_held_out(
    file: Path, rows: LabelledRows, settings: CrossFittedSettings, *, nested: bool
) -> HeldOut | None:
    """What `write_held_out` wrote by the same plan; None when there is no such file."""
    if not file.is_file():
        return None
    try:
        table = pq.read_table(file)
        said = json.loads(table.schema.metadata[METADATA_KEY])
        columns = [table.column(name).to_numpy() for name in PROBABILITY_COLUMNS]
    except (pa.ArrowException, KeyError, TypeError, ValueError):
        return None
    if said.get("plan") != annotator_plan(rows, settings, nested=nested):
        return None
    return HeldOut(np.stack(columns, axis=1).astype(np.float64), said["signature"])


def _class_of(settings: CrossFittedSettings) -> type[CrossFittedAnnotator[Any]]:
    found = annotator_class(settings.kind)
    if not issubclass(found, CrossFittedAnnotator):
        raise ModelError(
            f"an annotator of kind {settings.kind!r} does not learn from labels",
            remedy="compare annotators that are fitted on labelled complaints",
        )
    return found
