"""How good the severity annotator was, as far as the results say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from tarjih.records import SEVERITIES
from tarjih.report.names import severity_label
from tarjih.report.tables import format_number

# The annotator's own signature also counts rows; it belongs with the settings.
_SIGNATURE = "annotator"


@dataclass(frozen=True, slots=True)
class MeasureName:
    """What a field of `SeverityMeasures` is called, what it means, and how to show it."""

    label: str
    meaning: str
    decimals: int = 3
    better: str = ""


MEASURES: dict[str, MeasureName] = {
    "accuracy": MeasureName(
        "Accuracy", "share of complaints given the label that a person gave", better="higher"
    ),
    "macro_f1": MeasureName("Macro F1", "mean F1 of the three severities, 0 to 1", better="higher"),
    "quadratic_kappa": MeasureName(
        "Quadratic kappa", "agreement beyond chance; distant mistakes count more", better="higher"
    ),
    "log_loss": MeasureName("Log loss", "nats; ln 3 = 1.099 is knowing nothing", better="lower"),
    "brier_score": MeasureName("Brier score", "0 to 2; 2/3 is knowing nothing", better="lower"),
    "expected_calibration_error": MeasureName(
        "Expected calibration error", "0 is best", better="lower"
    ),
    "under_triage_rate": MeasureName(
        "Under-triage", "share of critical complaints called non-critical", better="lower"
    ),
    "critical_recall": MeasureName(
        "Critical recall", "share of critical complaints called critical", better="higher"
    ),
    "over_triage_rate": MeasureName(
        "Over-triage", "share of non-critical complaints called critical", better="lower"
    ),
}
"""In the order in which they are shown."""

_SHOWN = {"rows": MeasureName("Labelled complaints", "", 0), **MEASURES}


@dataclass(frozen=True, slots=True)
class AnnotatorQuality:
    """One set of measures: (name, value, meaning), and a confusion matrix with its labels."""

    title: str
    measures: tuple[tuple[str, str, str], ...]
    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]


def annotator_quality(severity: Mapping[str, Any], title: str = "") -> Iterator[AnnotatorQuality]:
    """Every set of measures, at the top or below (as when train and test are apart)."""
    measures = tuple(
        (name.label, format_number(float(value), name.decimals), name.meaning)
        for key, name in _SHOWN.items()
        if _is_number(value := severity.get(key))
    )
    matrix = _matrix(severity.get("confusion_matrix"))
    if measures or matrix:
        yield AnnotatorQuality(title, measures, _labels(severity, len(matrix)), matrix)
    for key, value in severity.items():
        if isinstance(value, Mapping) and key != _SIGNATURE:
            name = str(key).replace("_", " ")
            yield from annotator_quality(value, f"{title}: {name}" if title else name)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _matrix(value: Any) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, list | tuple) or not value:
        return ()
    rows = tuple(tuple(row) for row in value if isinstance(row, list | tuple))
    square = len(rows) == len(value) and all(len(row) == len(rows) for row in rows)
    return rows if square and all(_is_number(count) for row in rows for count in row) else ()


def _labels(severity: Mapping[str, Any], size: int) -> tuple[str, ...]:
    given = severity.get("labels")
    if isinstance(given, list | tuple) and len(given) == size:
        return tuple(severity_label(str(label)) for label in given)
    if size == len(SEVERITIES):
        return tuple(severity_label(label) for label in SEVERITIES)
    return tuple(str(number + 1) for number in range(size))
