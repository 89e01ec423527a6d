from __future__ import annotations

from typing import Any

import pytest

from tarjih.report.annotator import annotator_quality

MEASURES: dict[str, Any] = {
    "accuracy": 0.5,
    "under_triage_rate": None,
    "confusion_matrix": [[5, 3, 2], [2, 5, 3], [1, 2, 7]],
}


def test_shows_what_there_is() -> None:
    (quality,) = annotator_quality(MEASURES)
    assert [(name, value) for name, value, _ in quality.measures] == [("Accuracy", "0.500")]
    assert quality.matrix[2] == (1, 2, 7)
    assert quality.labels == ("non-critical", "neutral", "critical")


def test_finds_measures_below() -> None:
    found = list(
        annotator_quality({"kind": "linear", "on_test": MEASURES, "folds": {"a": MEASURES}})
    )
    assert [quality.title for quality in found] == ["on test", "folds: a"]


def test_given_labels_are_used() -> None:
    (quality,) = annotator_quality({**MEASURES, "labels": ["x", "critical", "neutral"]})
    assert quality.labels == ("x", "critical", "neutral")


@pytest.mark.parametrize(
    "severity",
    [
        {},
        {"accuracy": None},
        {"accuracy": "high"},
        {"accuracy": float("nan")},
        {"confusion_matrix": [[1, 2], [3]]},
        {"confusion_matrix": [["a"]]},
        {"confusion_matrix": 3},
    ],
)
def test_what_cannot_be_shown_is_left_to_the_settings(severity: dict[str, Any]) -> None:
    assert list(annotator_quality(severity)) == []
