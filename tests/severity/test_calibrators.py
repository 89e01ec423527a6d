"""Each calibrator against another library or the naive equation, and how one of three is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize
from scipy.special import log_softmax as scipy_log_softmax
from scipy.special import softmax as scipy_softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold

import tarjih.severity.calibrators as calibrators_module
from tarjih.severity.calibration import Floats, Integers, fit_temperature
from tarjih.severity.calibrators import (
    KINDS,
    Calibrator,
    CalibratorKind,
    fit_calibrator,
    held_out_calibration,
)

Parts = list[tuple[Integers, Integers]]


def drawn(rows: int, stated: Floats, seed: int = 1) -> Integers:
    """Labels drawn from (n, 3) probabilities."""
    random = np.random.default_rng(seed)
    places = (random.random((rows, 1)) > stated.cumsum(axis=1)).sum(axis=1)
    return np.asarray(np.minimum(places, 2), dtype=np.int64)


def logits_of(rows: int, seed: int = 0) -> Floats:
    return np.asarray(np.random.default_rng(seed).normal(scale=1.5, size=(rows, 3)))


def parts_of(rows: int, folds: int = 5) -> Parts:
    splitter = KFold(folds, shuffle=True, random_state=0)
    return [(fitted, held_out) for fitted, held_out in splitter.split(np.zeros(rows))]


def hot_and_biased(rows: int) -> tuple[Floats, Integers]:
    """Logits that are three times too sure, of labels that lean to the third severity."""
    logits = logits_of(rows)
    return 3 * logits, drawn(rows, scipy_softmax(logits + np.asarray([0.0, -0.5, 1.0]), axis=1))


@pytest.mark.parametrize("kind", KINDS)
@given(
    logits=hnp.arrays(
        np.float64, st.tuples(st.integers(0, 5), st.just(3)), elements=st.floats(-900, 900)
    )
)
def test_all_logits_become_probabilities(kind: CalibratorKind, logits: Floats) -> None:
    fitted = FITTED[kind]
    probabilities = fitted.apply(logits)
    assert probabilities.shape == logits.shape
    assert probabilities.dtype == np.float64
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)


FITTED = {kind: fit_calibrator(kind, *hot_and_biased(300)) for kind in KINDS}


def test_temperature_is_one_number_that_scales_all_logits() -> None:
    logits, classes = hot_and_biased(400)
    fitted = fit_calibrator("temperature", logits, classes)
    temperature = fit_temperature(logits, classes)
    assert fitted.parameters.tolist() == [[temperature] * 3]
    np.testing.assert_allclose(
        fitted.apply(logits), scipy_softmax(logits / temperature, axis=1), rtol=1e-12
    )


def test_vector_scaling_is_where_another_solver_finds_the_lowest_loss() -> None:
    logits, classes = hot_and_biased(400)
    fitted = fit_calibrator("vector", logits, classes)
    start = np.concatenate([np.full(3, 1 / fit_temperature(logits, classes)), np.zeros(3)])

    def naive(values: Floats) -> float:
        scaled = scipy_log_softmax(logits * values[:3] + values[3:], axis=1)
        loss = -sum(scaled[row, label] for row, label in enumerate(classes))
        return float(loss + 0.5 * ((values - start) ** 2).sum())

    oracle = minimize(naive, start, method="Powell", options={"xtol": 1e-10, "ftol": 1e-14})
    np.testing.assert_allclose(fitted.parameters.ravel(), oracle.x, atol=2e-3)
    assert naive(fitted.parameters.ravel()) <= oracle.fun + 1e-6
    np.testing.assert_allclose(
        fitted.apply(logits),
        scipy_softmax(logits * oracle.x[:3] + oracle.x[3:], axis=1),
        atol=1e-3,
    )


def test_vector_scaling_recovers_scales_and_biases() -> None:
    logits = logits_of(30_000)
    scales, biases = np.asarray([0.5, 1.0, 2.0]), np.asarray([-0.5, 0.0, 0.5])
    classes = drawn(30_000, scipy_softmax(logits * scales + biases, axis=1))
    found = fit_calibrator("vector", logits, classes).parameters
    np.testing.assert_allclose(found[0], scales, atol=0.06)
    np.testing.assert_allclose(found[1] - found[1].mean(), biases, atol=0.06)


def test_isotonic_steps_are_scikit_learns_for_each_severity() -> None:
    logits, classes = hot_and_biased(150)  # fewer rows than points, so that each row is one
    fitted = fit_calibrator("isotonic", logits, classes)
    plain = scipy_softmax(logits, axis=1)
    columns = []
    for k in range(3):
        oracle = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        columns.append(oracle.fit_transform(plain[:, k], (classes == k).astype(float)))
    steps = (np.stack(columns, axis=1) * 150 + 1 / 3) / 151  # with one row more, of all severities
    np.testing.assert_allclose(
        fitted.apply(logits), steps / steps.sum(axis=1, keepdims=True), rtol=1e-9
    )


def test_isotonic_steps_never_fall_and_are_never_nothing() -> None:
    logits, classes = hot_and_biased(2_000)
    parameters = fit_calibrator("isotonic", logits, classes).parameters
    assert parameters.shape == (400, 3)
    points, values = np.split(parameters, 2)
    assert (np.diff(points, axis=0) >= 0).all()
    assert (np.diff(values, axis=0) >= 0).all()
    assert values.min() > 0
    assert values.max() < 1
    assert np.diff(values, axis=0).max() > 0


def test_isotonic_takes_logits_of_few_distinct_values() -> None:
    # As a lexicon gives them: four findings, so nearly all quantiles are ties.
    table = np.log([[0.45, 0.35, 0.2], [0.7, 0.22, 0.08], [0.25, 0.55, 0.2], [0.05, 0.2, 0.75]])
    logits = table[np.random.default_rng(0).integers(0, 4, 600)]
    classes = drawn(600, scipy_softmax(2 * logits, axis=1))
    fitted = fit_calibrator("isotonic", logits, classes)
    shares = [np.bincount(classes[logits[:, 0] == row[0]], minlength=3) for row in table]
    expected = np.stack([share / share.sum() for share in shares])
    # The steps of each severity are its shares, for these are in order already.
    assert np.abs(fitted.apply(table) - expected).max() < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_mends_what_it_can(kind: CalibratorKind) -> None:
    logits, classes = hot_and_biased(4_000)
    before = log_loss(classes, scipy_softmax(logits, axis=1))
    after = log_loss(classes, fit_calibrator(kind, logits, classes).apply(logits))
    assert after < before - 0.2


@pytest.mark.parametrize(
    ("kind", "bend"),
    [
        ("temperature", lambda logits: logits / 3),
        ("vector", lambda logits: logits / 3 + np.asarray([0.0, -1.0, 2.0])),
        # Three labels of ten are noise, however sure the scorer is: no straight line does that.
        ("isotonic", lambda logits: np.log(0.7 * scipy_softmax(8 * logits, axis=1) + 0.1)),
    ],
)
def test_the_kind_with_the_lowest_held_out_log_loss_is_chosen(
    kind: CalibratorKind, bend: object
) -> None:
    assert callable(bend)
    logits = logits_of(6_000) * 3
    classes = drawn(6_000, scipy_softmax(bend(logits), axis=1))
    parts = parts_of(6_000)
    losses = {}
    for one in KINDS:
        found = np.zeros_like(logits)
        for fitted, held_out in parts:
            found[held_out] = fit_calibrator(one, logits[fitted], classes[fitted]).apply(
                logits[held_out]
            )
        losses[one] = (log_loss(classes, found), found)
    chosen, probabilities = held_out_calibration(logits, classes, parts)
    assert chosen == kind == min(losses, key=lambda name: losses[name][0])
    assert np.array_equal(probabilities, losses[kind][1])


def test_of_equally_good_kinds_the_simplest_is_chosen() -> None:
    classes = np.asarray([0, 1, 2] * 20)
    chosen, probabilities = held_out_calibration(np.zeros((60, 3)), classes, parts_of(60, 2))
    losses = [log_loss(classes, probabilities), np.log(3)]
    assert chosen == "temperature"
    assert losses[0] == pytest.approx(losses[1])


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_is_calibrated_by_what_saw_it(
    kind: CalibratorKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrators_module, "KINDS", (kind,))
    logits, classes = hot_and_biased(120)
    parts = parts_of(120, 4)
    _, before = held_out_calibration(logits, classes, parts)
    for fitted, held_out in parts:
        other = classes.copy()
        other[held_out] = (classes[held_out] + 1) % 3
        _, after = held_out_calibration(logits, other, parts)
        assert np.array_equal(after[held_out], before[held_out])
        assert not np.array_equal(after[fitted], before[fitted])


def test_logits_too_sure_for_a_probability_above_zero_are_weighed_like_any() -> None:
    classes = np.asarray([0, 1, 2] * 10)
    logits = 1e6 * np.eye(3)[(classes + 1) % 3]  # always wrong, and beyond any float's exponent
    chosen, probabilities = held_out_calibration(logits, classes, parts_of(30, 3))
    assert chosen != "temperature"  # which can only flatten what misleads
    assert log_loss(classes, probabilities) < np.log(3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_calibrator_is_the_same(kind: CalibratorKind) -> None:
    again = Calibrator.of(kind, FITTED[kind].parameters.copy())
    logits = logits_of(50, seed=3)
    assert again.apply(logits).tobytes() == FITTED[kind].apply(logits).tobytes()


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("platt", np.ones((1, 3))),
        ("temperature", np.ones((2, 3))),
        ("temperature", np.ones((1, 2))),
        ("temperature", np.zeros((1, 3))),
        ("temperature", np.full((1, 3), np.nan)),
        ("vector", np.ones((1, 3))),
        ("vector", np.full((2, 3), np.inf)),
        ("isotonic", np.ones((3, 3))),
        ("isotonic", np.ones((0, 3))),
        ("isotonic", np.ones(4)),
    ],
)
def test_parameters_that_no_calibrator_has_are_refused(kind: str, parameters: Floats) -> None:
    with pytest.raises(ValueError, match=kind):
        Calibrator.of(kind, parameters)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_that_are_not_numbers_are_refused(kind: CalibratorKind) -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_calibrator(kind, np.asarray([[0.0, np.nan, 1.0]]), np.asarray([0]))
