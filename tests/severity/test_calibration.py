from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax as scipy_log_softmax
from scipy.special import softmax as scipy_softmax
from sklearn.metrics import log_loss

from tarjih.severity.calibration import (
    HIGHEST_TEMPERATURE,
    Floats,
    Integers,
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    log_softmax,
    most_likely,
    softmax,
)

LOGITS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.just(3)),
    elements=st.floats(-1e6, 1e6, allow_nan=False),
)


def sampled(rows: int, seed: int = 0) -> tuple[Floats, Integers]:
    """Logits, and labels drawn from exactly the probabilities that the logits state."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=1.5, size=(rows, 3))
    draws = random.random((rows, 1))
    labels = (draws > scipy_softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    return logits, np.minimum(labels, 2)


@given(LOGITS)
def test_softmax_sums_to_one_and_agrees_with_scipy(logits: Floats) -> None:
    ours = softmax(logits)
    assert np.isfinite(ours).all()
    assert np.isfinite(log_softmax(logits)).all()
    np.testing.assert_allclose(ours.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(ours, scipy_softmax(logits, axis=1), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(
        log_softmax(logits), scipy_log_softmax(logits, axis=1), rtol=1e-12, atol=1e-12
    )


def test_softmax_of_single_precision_is_computed_in_double() -> None:
    assert softmax(np.asarray([[1, 2, 3]], dtype=np.float32)).dtype == np.float64


@pytest.mark.parametrize("factor", [0.2, 0.5, 1.0, 3.0, 10.0])
def test_a_known_temperature_is_recovered(factor: float) -> None:
    logits, labels = sampled(40_000)
    # What was honest at 1 is over-confident by `factor` when the logits are multiplied by it.
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.03)


def test_scaling_the_logits_scales_the_temperature() -> None:
    logits, labels = sampled(500, seed=3)
    once = fit_temperature(logits, labels)
    assert fit_temperature(logits * 7.0, labels) == pytest.approx(7.0 * once, rel=1e-4)


def test_calibration_lowers_the_log_loss_of_overconfident_logits() -> None:
    logits, labels = sampled(2_000, seed=1)
    logits = logits * 5.0
    fitted = apply_temperature(logits, fit_temperature(logits, labels))
    assert log_loss(labels, fitted) < log_loss(labels, apply_temperature(logits, 1.0)) - 0.1
    assert expected_calibration_error(fitted, labels) < 0.05
    assert expected_calibration_error(softmax(logits), labels) > 0.1


def test_the_temperature_is_the_best_on_a_grid() -> None:
    logits, labels = sampled(300, seed=2)
    best = log_loss(labels, apply_temperature(logits, fit_temperature(logits, labels)))
    for temperature in np.geomspace(0.05, 50, 200):
        assert best <= log_loss(labels, apply_temperature(logits, float(temperature))) + 1e-9


def test_misleading_logits_become_nearly_uniform() -> None:
    labels = np.asarray([0, 1, 2] * 10)
    temperature = fit_temperature(-3.0 * np.eye(3)[labels], labels)
    assert temperature == pytest.approx(HIGHEST_TEMPERATURE, rel=1e-3)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        apply_temperature(np.zeros((1, 3)), temperature)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((2, 3)), [0]),
        (np.zeros((0, 3)), []),
        (np.zeros(3), [0, 1, 2]),
        (np.asarray([[0.0, np.nan, 1.0]]), [0]),
    ],
)
def test_fitting_refuses_what_does_not_belong_together(logits: Floats, labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"belong|finite"):
        fit_temperature(logits, labels)


def naive_calibration_error(probabilities: Floats, labels: Integers, bins: int) -> float:
    total = 0.0
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        members = [
            (float(row.max()), int(row.argmax()) == label)
            for row, label in zip(probabilities, labels, strict=True)
            if low < row.max() <= high
        ]
        if members:
            accuracy = sum(hit for _, hit in members) / len(members)
            confidence = sum(value for value, _ in members) / len(members)
            total += len(members) / len(labels) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_expected_calibration_error_is_its_definition(bins: int) -> None:
    logits, labels = sampled(400, seed=5)
    probabilities = softmax(logits * 2)
    assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(
        naive_calibration_error(probabilities, labels, bins), abs=1e-12
    )


def test_expected_calibration_error_by_hand() -> None:
    probabilities = np.asarray([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.0, 1.0, 0.0]])
    # Two rows at 0.9, one of them right: |0.5 - 0.9| * 2/3; one row at 1.0, right: 0.
    assert expected_calibration_error(probabilities, [0, 1, 1]) == pytest.approx(0.8 / 3)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    rows = np.asarray([[0.5, 0.3, 0.2], [0.75, 0.25, 0.0]])
    # Wrong at 0.5 in (0, 0.5], right at 0.75 in (0.5, 1]: (0.5 + 0.25) / 2.
    assert expected_calibration_error(rows, [1, 0], bins=2) == pytest.approx(0.375)


def test_expected_calibration_error_needs_rows() -> None:
    with pytest.raises(ValueError, match="bins"):
        expected_calibration_error(np.zeros((0, 3)), [])
    with pytest.raises(ValueError, match="bins"):
        expected_calibration_error(np.full((1, 3), 1 / 3), [0], bins=0)


def test_of_equal_probabilities_the_more_severe_counts() -> None:
    rows = np.asarray([[0.4, 0.4, 0.2], [0.3, 0.35, 0.35], [1 / 3] * 3, [0.5, 0.25, 0.25]])
    assert most_likely(rows).tolist() == [1, 2, 2, 0]
