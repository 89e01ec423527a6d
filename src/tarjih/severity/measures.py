"""How well an annotator's probabilities agree with people's labels.

Every measure is made of sums over rows, so that a resample of the rows needs only new sums:
`row_statistics` gives what each row adds, `measures_of` what the sums come to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.calibration import (
    SMALLEST_PROBABILITY,
    Floats,
    Integers,
    confidence_bins,
    most_likely,
)

_CLASSES = len(SEVERITIES)
_NON_CRITICAL = SEVERITIES.index(Severity.NON_CRITICAL)
_CRITICAL = SEVERITIES.index(Severity.CRITICAL)
_DISTANCES = (np.arange(_CLASSES)[:, None] - np.arange(_CLASSES)[None, :]) ** 2.0
_BINS = 15
# The columns of `row_statistics`.
_CONFUSION = slice(0, _CLASSES**2)
_LOG_LOSS = _CLASSES**2
_BRIER = _LOG_LOSS + 1
_GAPS = slice(_BRIER + 1, _BRIER + 1 + _BINS)


class SeverityMeasures(BaseModel):
    """Agreement of an annotator with people's labels. Shares are from 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(description="labelled complaints that were scored")
    out_of_fold_rows: int = Field(
        description="of those, complaints that the annotator was fitted on, scored by a model of "
        "another fold"
    )
    accuracy: float = Field(description="share of rows whose most likely severity is the label")
    macro_f1: float = Field(description="mean F1 of the three severities; F1 is 0 where undefined")
    quadratic_kappa: float | None = Field(
        description="Cohen's kappa with the squared distance of the severities: 0 is chance, 1 is "
        "agreement; null where all labels and predictions are one severity"
    )
    log_loss: float = Field(description="mean -log p(label), in nats; ln 3 = 1.099 is uniform")
    brier_score: float = Field(
        description="mean squared distance of the three probabilities to the label, 0 to 2; 2/3 "
        "is uniform"
    )
    expected_calibration_error: float = Field(description="15 bins of equal width; 0 is best")
    critical_recall: float | None = Field(
        description="share of critical complaints called critical; null without critical ones"
    )
    under_triage_rate: float | None = Field(
        description="share of critical complaints called non-critical; null without critical ones"
    )
    over_triage_rate: float | None = Field(
        description="share of non-critical complaints called critical; null without such ones"
    )
    confusion_matrix: tuple[tuple[int, ...], ...] = Field(
        description="rows are labels, columns predictions: non-critical, neutral, critical"
    )


def measure(
    probabilities: npt.ArrayLike, labels: Sequence[Severity], *, out_of_fold_rows: int = 0
) -> SeverityMeasures:
    """Compare probabilities with labels.

    Args:
        probabilities: (n, 3), in the order of `records.SEVERITIES`.
        labels: n labels, n >= 1.
        out_of_fold_rows: how many of the rows were scored out of fold; it is only passed on.

    Raises:
        DataError: when there is no row.
        ValueError: when the shapes do not fit.
    """
    if not labels:
        raise DataError(
            "there is no labelled complaint to measure on",
            remedy="give a file with a severity column that people filled in",
        )
    totals = row_statistics(probabilities, severity_indices(labels)).sum(axis=0)
    values = {name: float(value) for name, value in measures_of(totals).items()}
    confusion = totals[_CONFUSION].reshape(_CLASSES, _CLASSES)
    return SeverityMeasures.model_validate(
        {
            "rows": len(labels),
            "out_of_fold_rows": out_of_fold_rows,
            **{name: None if math.isnan(value) else value for name, value in values.items()},
            "confusion_matrix": tuple(tuple(int(count) for count in row) for row in confusion),
        }
    )


def row_statistics(probabilities: npt.ArrayLike, classes: Integers) -> Floats:
    """What each row adds to the sums that measures are made of.

    Args:
        probabilities: (n, 3), in the order of `records.SEVERITIES`.
        classes: (n,) labels as indices.

    Returns:
        (n, 26): a one in the row's cell of the confusion matrix, row by row (9 columns); its log
        loss; its Brier score; and in the column of its confidence's bin (15 columns) whether the
        prediction is right, less the confidence.

    Raises:
        ValueError: when the shapes do not fit.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.shape != (len(classes), _CLASSES):
        raise ValueError(f"probabilities {values.shape} for {len(classes)} labels")
    rows = np.arange(len(classes))
    called = most_likely(values)
    confidence = values.max(axis=1)
    found = np.zeros((len(classes), _GAPS.stop))
    found[:, _CONFUSION] = confusion_statistics(called, classes)
    found[:, _LOG_LOSS] = -np.log(np.clip(values[rows, classes], SMALLEST_PROBABILITY, 1.0))
    found[:, _BRIER] = ((values - np.eye(_CLASSES)[classes]) ** 2).sum(axis=1)
    found[rows, _GAPS.start + confidence_bins(confidence, _BINS)] = (called == classes) - confidence
    return found


def confusion_statistics(called: Integers, classes: Integers) -> Floats:
    """(n, 9): for each row a one in its cell of the confusion matrix, labels by predictions."""
    return np.asarray(np.eye(_CLASSES**2)[classes * _CLASSES + called])


def measures_of(totals: Floats) -> dict[str, Floats]:
    """The measures that sums of `row_statistics` come to; NaN where one is not defined.

    Args:
        totals: (..., 26), sums over at least one row.

    Returns:
        Name of a field of `SeverityMeasures` -> (...), in the order of the fields.
    """
    of_calls = measures_of_calls(totals[..., _CONFUSION])
    rows = totals[..., _CONFUSION].sum(axis=-1)
    of_probabilities = {
        "log_loss": totals[..., _LOG_LOSS] / rows,
        "brier_score": totals[..., _BRIER] / rows,
        "expected_calibration_error": np.abs(totals[..., _GAPS]).sum(axis=-1) / rows,
    }
    found = {**of_calls, **of_probabilities}
    return {name: found[name] for name in SeverityMeasures.model_fields if name in found}


def measures_of_calls(totals: Floats) -> dict[str, Floats]:
    """The measures that need only what was called; NaN where one is not defined.

    Args:
        totals: (..., 9), confusion matrices row by row, of at least one row.

    Returns:
        Name of a field of `SeverityMeasures` -> (...).
    """
    confusion = totals.reshape(*totals.shape[:-1], _CLASSES, _CLASSES)
    labelled, called = confusion.sum(axis=-1), confusion.sum(axis=-2)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    rows = labelled.sum(axis=-1)
    # F1 = 2 TP / (labelled + predicted), which spares two divisions that may be 0 / 0.
    f1 = _divide(2 * hits, labelled + called, otherwise=0.0)
    # Agreement by chance: labels and predictions as often as they are, but independent.
    by_chance = np.einsum("...i,ij,...j->...", labelled, _DISTANCES, called) / rows
    observed = (confusion * _DISTANCES).sum(axis=(-2, -1))
    return {
        "accuracy": hits.sum(axis=-1) / rows,
        "macro_f1": f1.mean(axis=-1),
        "quadratic_kappa": 1 - _divide(observed, by_chance),
        "critical_recall": _divide(hits[..., _CRITICAL], labelled[..., _CRITICAL]),
        "under_triage_rate": _divide(
            confusion[..., _CRITICAL, _NON_CRITICAL], labelled[..., _CRITICAL]
        ),
        "over_triage_rate": _divide(
            confusion[..., _NON_CRITICAL, _CRITICAL], labelled[..., _NON_CRITICAL]
        ),
    }


def severity_indices(labels: Sequence[Severity]) -> Integers:
    """Labels as indices into `records.SEVERITIES`, shape (n,)."""
    return np.asarray([SEVERITIES.index(label) for label in labels], dtype=np.int64)


def _divide(part: Floats, whole: Floats, otherwise: float = math.nan) -> Floats:
    quotient: Floats = np.divide(
        part, whole, out=np.full(np.shape(whole), otherwise), where=whole > 0
    )
    return quotient
