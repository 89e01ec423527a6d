from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
)

from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity, SeverityDistribution
from tarjih.severity.calibration import expected_calibration_error, most_likely
from tarjih.severity.measures import (
    SeverityMeasures,
    confusion_statistics,
    measure,
    measures_of,
    measures_of_calls,
    row_statistics,
)

LABELS = st.lists(st.integers(0, 2), min_size=1, max_size=60)
SEEDS = st.integers(0, 2**32 - 1)


def probabilities_for(labels: list[int], seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).dirichlet([1, 1, 1], size=len(labels))


def measured(labels: list[int], probabilities: Any) -> SeverityMeasures:
    return measure(probabilities, [SEVERITIES[label] for label in labels])


@given(LABELS, SEEDS)
def test_measures_agree_with_scikit_learn(labels: list[int], seed: int) -> None:
    probabilities = probabilities_for(labels, seed)
    predictions = probabilities.argmax(axis=1)
    measures = measured(labels, probabilities)
    assert measures.rows == len(labels)
    assert measures.accuracy == pytest.approx(accuracy_score(labels, predictions))
    assert measures.macro_f1 == pytest.approx(
        f1_score(labels, predictions, labels=[0, 1, 2], average="macro", zero_division=0)
    )
    assert measures.log_loss == pytest.approx(log_loss(labels, probabilities, labels=[0, 1, 2]))
    assert measures.brier_score == pytest.approx(
        brier_score_loss(labels, probabilities, labels=[0, 1, 2], scale_by_half=False)
    )
    assert np.array_equal(
        measures.confusion_matrix, confusion_matrix(labels, predictions, labels=[0, 1, 2])
    )
    assert measures.expected_calibration_error == pytest.approx(
        expected_calibration_error(probabilities, labels)
    )
    if 2 in labels:
        assert measures.critical_recall == pytest.approx(
            recall_score(labels, predictions, labels=[2], average="macro", zero_division=0)
        )
    else:
        assert measures.critical_recall is None
        assert measures.under_triage_rate is None


@given(LABELS, SEEDS)
def test_quadratic_kappa_agrees_with_scikit_learn(labels: list[int], seed: int) -> None:
    probabilities = probabilities_for(labels, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides 0 by 0 where kappa is not defined
        expected = cohen_kappa_score(
            labels, probabilities.argmax(axis=1), labels=[0, 1, 2], weights="quadratic"
        )
    found = measured(labels, probabilities).quadratic_kappa
    assert (math.nan if found is None else found) == pytest.approx(expected, nan_ok=True)


def test_kappa_of_one_severity_only_is_not_defined() -> None:
    certain = [[0.0, 1.0, 0.0]] * 3
    assert measured([1, 1, 1], certain).quadratic_kappa is None
    assert measured([1, 1, 0], certain).quadratic_kappa == pytest.approx(0.0)


def test_under_triage_counts_critical_complaints_called_non_critical() -> None:
    labels = [Severity.CRITICAL] * 4 + [Severity.NEUTRAL]
    called = np.eye(3)[[0, 1, 2, 2, 0]]
    measures = measure(called, labels, out_of_fold_rows=4)
    assert measures.under_triage_rate == 0.25
    assert measures.critical_recall == 0.5
    assert measures.over_triage_rate is None
    assert measures.confusion_matrix == ((0, 0, 0), (1, 0, 0), (1, 1, 2))
    assert measures.out_of_fold_rows == 4


def test_over_triage_counts_non_critical_complaints_called_critical() -> None:
    labels = [Severity.NON_CRITICAL] * 5 + [Severity.CRITICAL]
    measures = measure(np.eye(3)[[2, 2, 1, 0, 0, 0]], labels)
    assert measures.over_triage_rate == 0.4
    assert measures.under_triage_rate == 1.0


def test_uniform_probabilities_have_the_brier_score_and_loss_that_are_documented() -> None:
    measures = measured([0, 1, 2], [[1 / 3] * 3] * 3)
    assert measures.brier_score == pytest.approx(2 / 3)
    assert measures.log_loss == pytest.approx(math.log(3))
    assert measured([0], [[0.0, 0.0, 1.0]]).brier_score == 2.0


@given(LABELS, SEEDS, st.integers(1, 5))
def test_sums_of_several_resamples_at_once_give_the_measures_of_each(
    labels: list[int], seed: int, resamples: int
) -> None:
    probabilities = probabilities_for(labels, seed)
    statistics = row_statistics(probabilities, np.array(labels))
    drawn = np.random.default_rng(seed).integers(0, len(labels), (resamples, len(labels)))
    found = measures_of(statistics[drawn].sum(axis=1))
    for number, rows in enumerate(drawn):
        alone = measured([labels[row] for row in rows], probabilities[rows]).model_dump()
        for name, values in found.items():
            expected = math.nan if alone[name] is None else alone[name]
            assert values[number] == pytest.approx(expected, nan_ok=True), name


@given(LABELS, SEEDS)
def test_calls_alone_give_the_measures_that_need_no_more(labels: list[int], seed: int) -> None:
    probabilities = probabilities_for(labels, seed)
    classes = np.array(labels)
    whole = measures_of(row_statistics(probabilities, classes).sum(axis=0))
    called = confusion_statistics(most_likely(probabilities), classes)
    for name, value in measures_of_calls(called.sum(axis=0)).items():
        assert value == pytest.approx(float(whole[name]), nan_ok=True)


def test_certainty_in_a_wrong_severity_is_a_finite_loss() -> None:
    measures = measure([[1.0, 0.0, 0.0]], [Severity.CRITICAL])
    assert measures.log_loss == pytest.approx(-np.log(np.finfo(np.float64).eps))


def test_the_prediction_is_the_one_that_the_records_make() -> None:
    tie = (0.25, 0.375, 0.375)
    predicted = SEVERITIES[int(most_likely(np.asarray([tie]))[0])]
    assert predicted is SeverityDistribution(*tie).most_likely is Severity.CRITICAL
    assert measure([tie], [Severity.CRITICAL]).accuracy == 1


def test_no_rows_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="no labelled complaint"):
        measure(np.zeros((0, 3)), [])
    with pytest.raises(ValueError, match="1 labels"):
        measure(np.zeros((2, 3)), [Severity.NEUTRAL])


def test_measures_survive_json() -> None:
    measures = measure([[0.2, 0.3, 0.5]], [Severity.CRITICAL])
    assert SeverityMeasures.model_validate_json(measures.model_dump_json()) == measures
