from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, recall_score

from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity, SeverityDistribution
from tarjih.severity.calibration import expected_calibration_error, most_likely
from tarjih.severity.measures import SeverityMeasures, measure


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_measures_agree_with_scikit_learn(labels: list[int], seed: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet([1, 1, 1], size=len(labels))
    predictions = probabilities.argmax(axis=1)
    measures = measure(probabilities, [SEVERITIES[label] for label in labels])
    assert measures.rows == len(labels)
    assert measures.accuracy == pytest.approx(accuracy_score(labels, predictions))
    assert measures.macro_f1 == pytest.approx(
        f1_score(labels, predictions, labels=[0, 1, 2], average="macro", zero_division=0)
    )
    assert measures.log_loss == pytest.approx(log_loss(labels, probabilities, labels=[0, 1, 2]))
    assert np.array_equal(
        measures.confusion_matrix, confusion_matrix(labels, predictions, labels=[0, 1, 2])
    )
    assert measures.expected_calibration_error == expected_calibration_error(probabilities, labels)
    if 2 in labels:
        assert measures.critical_recall == pytest.approx(
            recall_score(labels, predictions, labels=[2], average="macro", zero_division=0)
        )
    else:
        assert measures.critical_recall is None
        assert measures.under_triage_rate is None


def test_under_triage_counts_critical_complaints_called_non_critical() -> None:
    labels = [Severity.CRITICAL] * 4 + [Severity.NEUTRAL]
    called = np.eye(3)[[0, 1, 2, 2, 0]]
    measures = measure(called, labels, out_of_fold_rows=4)
    assert measures.under_triage_rate == 0.25
    assert measures.critical_recall == 0.5
    assert measures.confusion_matrix == ((0, 0, 0), (1, 0, 0), (1, 1, 2))
    assert measures.out_of_fold_rows == 4


def test_certainty_in_a_wrong_severity_is_a_finite_loss() -> None:
    measures = measure([[1.0, 0.0, 0.0]], [Severity.CRITICAL])
    assert measures.log_loss == pytest.approx(-np.log(np.finfo(np.float64).eps))


def test_the_prediction_is_the_one_that_the_records_make() -> None:
    tie = (0.25, 0.375, 0.375)
    predicted = SEVERITIES[int(most_likely(np.asarray([tie]))[0])]
    assert predicted is SeverityDistribution(*tie).most_likely is Severity.CRITICAL


def test_no_rows_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="no labelled complaint"):
        measure(np.zeros((0, 3)), [])
    with pytest.raises(ValueError, match="1 labels"):
        measure(np.zeros((2, 3)), [Severity.NEUTRAL])


def test_measures_survive_json() -> None:
    measures = measure([[0.2, 0.3, 0.5]], [Severity.CRITICAL])
    assert SeverityMeasures.model_validate_json(measures.model_dump_json()) == measures
