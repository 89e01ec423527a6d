from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.severity.calibration import most_likely
from tarjih.severity.triage_rule import (
    ZERO_ONE,
    Costs,
    call,
    cross_fitted_calls,
    least_penalty,
    penalties_withstood,
)

COST = st.floats(0.1, 10)
COSTS = st.tuples(COST, COST, COST, COST, COST, COST).map(
    lambda c: ((0.0, c[0], c[1]), (c[2], 0.0, c[3]), (c[4], c[5], 0.0))
)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, rows: int = 40) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).dirichlet([1, 1, 1], size=rows)


def classes_of(probabilities: Any, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Labels that the probabilities are calibrated for."""
    at = np.random.default_rng(seed + 1).random(len(probabilities))
    return np.asarray((at[:, None] > np.cumsum(probabilities, axis=1)[:, :2]).sum(axis=1))


@given(SEEDS, COSTS, st.floats(0, 20))
def test_calls_have_the_least_expected_cost(seed: int, costs: Costs, penalty: float) -> None:
    probabilities = drawn(seed)
    matrix = np.array(costs)
    matrix[2, 0] += penalty
    expected = probabilities @ matrix
    called = call(probabilities, costs, penalty)
    chosen = expected[np.arange(len(called)), called]
    np.testing.assert_allclose(chosen, expected.min(axis=1), atol=1e-9)


@given(SEEDS)
def test_equal_costs_call_the_most_likely(seed: int) -> None:
    probabilities = drawn(seed)
    np.testing.assert_array_equal(call(probabilities, ZERO_ONE, 0.0), most_likely(probabilities))


def test_of_equals_the_more_severe_is_called() -> None:
    ties = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.25, 0.375, 0.375]])
    assert call(ties, ZERO_ONE, 0.0).tolist() == [1, 2, 2]


@given(SEEDS, COSTS)
def test_a_complaint_is_called_non_critical_up_to_the_penalty_it_withstands(
    seed: int, costs: Costs
) -> None:
    probabilities = drawn(seed)
    withstood = penalties_withstood(probabilities, costs)
    for penalty in (0.0, 0.5, 3.0):
        called = call(probabilities, costs, penalty)
        np.testing.assert_array_equal(called == 0, withstood > penalty)


def test_an_infinite_penalty_calls_nothing_non_critical() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.9, 0.05, 0.05]])
    assert penalties_withstood(probabilities, ZERO_ONE)[:2].tolist() == [math.inf, math.inf]
    assert (call(probabilities, ZERO_ONE, 1e9) == 0).tolist() == [True, True, False]
    assert (call(probabilities, ZERO_ONE, math.inf) > 0).all()


@given(SEEDS, st.floats(0, 1))
def test_the_penalty_meets_the_target_and_no_less_would(seed: int, target: float) -> None:
    probabilities = drawn(seed, 60)
    classes = classes_of(probabilities, seed)
    withstood = penalties_withstood(probabilities, ZERO_ONE)
    penalty = least_penalty(withstood, classes, target)
    critical = classes == 2
    count = int(critical.sum())

    def missed(with_penalty: float) -> int:
        return int((call(probabilities, ZERO_ONE, with_penalty)[critical] == 0).sum())

    assert missed(penalty) <= target * count + 1e-6
    if penalty > 0:
        assert missed(np.nextafter(penalty, 0)) > target * count - 1e-6


def test_without_critical_rows_there_is_nothing_to_penalise() -> None:
    assert least_penalty(np.array([1.0, 2.0]), np.array([0, 1]), 0.1) == 0


def test_a_penalty_is_chosen_without_the_rows_it_is_used_on() -> None:
    # The two folds differ: in one the critical rows look non-critical, in the other they do not.
    sure, unsure = [0.9, 0.05, 0.05], [0.4, 0.3, 0.3]
    probabilities = np.array([sure] * 4 + [unsure] * 4)
    classes = np.full(8, 2)
    rows = np.arange(8)
    parts = [(rows[4:], rows[:4]), (rows[:4], rows[4:])]
    called, penalties = cross_fitted_calls(
        probabilities, classes, parts, costs=ZERO_ONE, target=0.0
    )
    # (0.9 - 0.05) / 0.05 and (0.4 - 0.3) / 0.3 withstood.
    assert penalties == pytest.approx([1 / 3, 17.0])
    assert called.tolist() == [0] * 4 + [2] * 4


def test_calibrated_probabilities_reach_the_target_on_rows_they_did_not_choose_by() -> None:
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], size=6000)
    classes = classes_of(probabilities, 0)
    rows = np.random.default_rng(1).permutation(6000)
    parts = [(np.setdiff1d(rows, part), part) for part in np.array_split(rows, 5)]
    rates = []
    for target in (0.2, 0.1, 0.05):
        called, _ = cross_fitted_calls(probabilities, classes, parts, costs=ZERO_ONE, target=target)
        missed = float((called[classes == 2] == 0).mean())
        assert missed == pytest.approx(target, abs=0.02)
        rates.append(float((called == classes).mean()))
    assert rates == sorted(rates, reverse=True)  # less under-triage costs accuracy
