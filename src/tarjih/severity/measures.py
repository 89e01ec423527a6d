"""How well an annotator's probabilities agree with people's labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.calibration import (
    Floats,
    Integers,
    expected_calibration_error,
    most_likely,
)

# A probability of exactly 0 would make the log loss infinite; scikit-learn clips at the same value.
_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
_CLASSES = len(SEVERITIES)
_NON_CRITICAL = SEVERITIES.index(Severity.NON_CRITICAL)
_CRITICAL = SEVERITIES.index(Severity.CRITICAL)


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
    log_loss: float = Field(description="mean -log p(label), in nats; ln 3 = 1.099 is uniform")
    expected_calibration_error: float = Field(description="15 bins of equal width; 0 is best")
    critical_recall: float | None = Field(
        description="share of critical complaints called critical; null without critical ones"
    )
    under_triage_rate: float | None = Field(
        description="share of critical complaints called non-critical; null without critical ones"
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
    values = np.asarray(probabilities, dtype=np.float64)
    if values.shape != (len(labels), _CLASSES):
        raise ValueError(f"probabilities {values.shape} for {len(labels)} labels")
    classes = severity_indices(labels)
    confusion = _confusion(classes, most_likely(values))
    critical = int(confusion[_CRITICAL].sum())
    of_label = values[np.arange(len(classes)), classes]
    return SeverityMeasures(
        rows=len(classes),
        out_of_fold_rows=out_of_fold_rows,
        accuracy=float(np.trace(confusion) / len(classes)),
        macro_f1=_macro_f1(confusion),
        log_loss=float(-np.log(np.clip(of_label, _SMALLEST_PROBABILITY, 1.0)).mean()),
        expected_calibration_error=expected_calibration_error(values, classes),
        critical_recall=_share(confusion[_CRITICAL, _CRITICAL], critical),
        under_triage_rate=_share(confusion[_CRITICAL, _NON_CRITICAL], critical),
        confusion_matrix=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def severity_indices(labels: Sequence[Severity]) -> Integers:
    """Labels as indices into `records.SEVERITIES`, shape (n,)."""
    return np.asarray([SEVERITIES.index(label) for label in labels], dtype=np.int64)


def _confusion(labels: Integers, predictions: Integers) -> Integers:
    counts = np.bincount(labels * _CLASSES + predictions, minlength=_CLASSES**2)
    return np.asarray(counts.reshape(_CLASSES, _CLASSES), dtype=np.int64)


def _macro_f1(confusion: Integers) -> float:
    # F1 = 2 TP / (labelled + predicted), which spares two divisions that may be 0 / 0.
    hits = np.diag(confusion).astype(np.float64)
    occurrences: Floats = (confusion.sum(axis=0) + confusion.sum(axis=1)).astype(np.float64)
    return float(
        np.divide(2 * hits, occurrences, out=np.zeros(_CLASSES), where=occurrences > 0).mean()
    )


def _share(count: int, total: int) -> float | None:
    return int(count) / total if total else None
