from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm, permutation_test

from tarjih.severity.calibration import Floats
from tarjih.severity.resampling import Estimate, bootstrap, group_totals, holm, permutation_p


def mean(totals: Floats) -> dict[str, Floats]:
    """Column 0 is the sum, column 1 the count."""
    return {"mean": totals[..., 0] / totals[..., 1]}


def statistics_of(values: Floats) -> Floats:
    return np.stack([values, np.ones_like(values)], axis=-1)


def test_rows_are_summed_by_group_in_the_order_of_their_numbers() -> None:
    values = np.array([[1.0, 10.0, 100.0, 1000.0], [2.0, 20.0, 200.0, 2000.0]])
    totals = group_totals(statistics_of(values), [7, 3, 7, 5])
    np.testing.assert_array_equal(
        totals, [[[10, 1], [1000, 1], [101, 2]], [[20, 1], [2000, 1], [202, 2]]]
    )


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_groups_lose_no_row(groups: list[int]) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, len(groups), 4))
    totals = group_totals(values, groups)
    assert totals.shape == (2, 3, len(set(groups)), 4)
    np.testing.assert_allclose(totals.sum(axis=-2), values.sum(axis=-2))


def test_the_interval_of_single_rows_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=200)
    totals = group_totals(statistics_of(values), range(200))
    found = bootstrap(totals, mean, resamples=6000, seed=3)["mean"]
    estimate = Estimate.of(float(values.mean()), found)
    expected = scipy_bootstrap(
        (values,), np.mean, n_resamples=6000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    width = expected.high - expected.low
    assert estimate.low == pytest.approx(expected.low, abs=0.05 * width)
    assert estimate.high == pytest.approx(expected.high, abs=0.05 * width)
    assert estimate.value == pytest.approx(values.mean())


def test_rows_of_a_group_are_drawn_together() -> None:
    # 50 groups of 4 equal rows know as much as 50 rows: the deviation is that of 50, not of 200.
    values = np.repeat(np.random.default_rng(2).normal(size=50), 4)
    groups = [row // 4 for row in range(200)]
    spread = {
        name: bootstrap(group_totals(statistics_of(values), numbers), mean, resamples=4000, seed=0)[
            "mean"
        ].std()
        for name, numbers in (("groups", groups), ("rows", range(200)))
    }
    assert spread["groups"] == pytest.approx(values.std() / np.sqrt(50), rel=0.06)
    assert spread["rows"] == pytest.approx(values.std() / np.sqrt(200), rel=0.06)


def test_everything_before_the_groups_gets_the_same_draws() -> None:
    values = np.random.default_rng(5).normal(size=(2, 1, 40))
    values[1] = values[0] + 0.25
    totals = group_totals(statistics_of(values), range(40))
    found = bootstrap(totals, mean, resamples=300, seed=1)["mean"]
    assert found.shape == (2, 1, 300)
    np.testing.assert_allclose(found[1] - found[0], 0.25)
    again = bootstrap(totals, mean, resamples=300, seed=1)["mean"]
    np.testing.assert_array_equal(found, again)
    assert (bootstrap(totals, mean, resamples=300, seed=2)["mean"] != found).any()


def test_p_is_that_of_all_exchanges() -> None:
    random = np.random.default_rng(6)
    first, second = random.normal(size=(2, 9))
    second += 0.9
    apart = second - first
    # Every way to exchange 9 pairs: the sign of each difference either way.
    every = [abs(float(np.mean(apart * signs))) for signs in product([1, -1], repeat=9)]
    exact = np.mean([one >= abs(apart.mean()) - 1e-12 for one in every])
    totals = [group_totals(statistics_of(one[None]), range(9)) for one in (first, second)]
    p = permutation_p(totals[0], totals[1], mean, resamples=20_000, seed=0)["mean"]
    assert p == pytest.approx(exact, abs=0.01)
    expected = permutation_test(
        (first, second),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    ).pvalue
    assert exact == pytest.approx(expected)


def test_equal_scorings_have_p_1_and_undefined_ones_none() -> None:
    totals = group_totals(statistics_of(np.arange(6.0)[None]), range(6))
    assert permutation_p(totals, totals, mean, resamples=50, seed=0) == {"mean": 1.0}
    nothing = permutation_p(
        totals, totals, lambda sums: {"x": sums[..., 0] * np.nan}, resamples=50, seed=0
    )
    assert nothing == {"x": None}


def test_p_is_even_where_nothing_differs() -> None:
    random = np.random.default_rng(8)
    found = []
    for number in range(200):
        pair = random.normal(size=(2, 1, 30))
        totals = group_totals(statistics_of(pair), range(30))
        p = permutation_p(totals[0], totals[1], mean, resamples=199, seed=number)["mean"]
        assert p is not None
        found.append(p)
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(
        0.05, abs=3 * (0.05 * 0.95 / 200) ** 0.5
    )


def test_an_estimate_of_what_is_not_defined() -> None:
    nothing = Estimate(value=None, low=None, high=None)
    assert Estimate.of(float("nan"), np.array([1.0, 2.0])) == nothing
    assert Estimate.of(1.0, np.array([np.nan])) == nothing
    assert Estimate.of(1.0, np.array([1.0, np.nan, 1.0])).low == 1.0


def test_an_estimate_covers_95_of_100() -> None:
    drawn = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    estimate = Estimate.of(0.0, drawn)
    assert (estimate.low, estimate.high) == pytest.approx((-1.95996, 1.95996), abs=1e-3)


def test_holm_by_hand() -> None:
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.6 * 1.
    corrected = holm([0.03, 0.01, None, 0.6, 0.02])
    assert corrected[2] is None
    assert [p for p in corrected if p is not None] == pytest.approx([0.06, 0.04, 0.6, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([None]) == [None]
