from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarjih.errors import DataError, SettingsError
from tarjih.records import SEVERITIES, Consultation, Severity, SeverityDistribution
from tarjih.weighting import (
    PRESETS,
    SHUFFLED,
    Floats,
    Weighting,
    flatness_warning,
    probabilities_of,
    severity_weights,
    weight_spread,
    weighting_from,
    weighting_from_text,
)

# The example rows that the paper prints, as percentages (arXiv 2604.06346).
PRINTED = ((0.32, 0.32, 0.36), (0.37, 0.35, 0.28), (0.35, 0.36, 0.29))

FACTORS = st.floats(min_value=0, max_value=100).map(lambda value: round(value, 3))
WEIGHTINGS = st.builds(Weighting, alpha=FACTORS, beta=FACTORS, gamma=st.floats(0.01, 100))


@st.composite
def probability_rows(draw: st.DrawFn) -> Floats:
    count = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random.dirichlet([draw(st.sampled_from([0.1, 1.0, 20.0]))] * 3, size=count)


def tokens_for(rows: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(len(rows)).integers(1, 300, len(rows))


def consultations_with(rows: Any) -> list[Consultation]:
    return [
        Consultation(str(i), "c", "r", probabilities=SeverityDistribution(*map(float, row)))
        for i, row in enumerate(rows)
    ]


def preset(name: str) -> Weighting:
    found = weighting_from(name)
    assert isinstance(found, Weighting)
    return found


@settings(deadline=None)
@given(rows=probability_rows(), weighting=WEIGHTINGS)
def test_weights_are_the_equation(rows: Floats, weighting: Weighting) -> None:
    weights = severity_weights(rows, weighting, seed=1, tokens=tokens_for(rows))
    for weight, (mild, neutral, severe) in zip(weights.tolist(), rows.tolist(), strict=True):
        expected = weighting.alpha * mild + weighting.beta * neutral + weighting.gamma * severe
        assert weight == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(rows=probability_rows(), weighting=WEIGHTINGS)
def test_weights_lie_between_the_least_and_the_greatest_factor(
    rows: Floats, weighting: Weighting
) -> None:
    weights = severity_weights(rows, weighting, seed=1, tokens=tokens_for(rows))
    assert weights.min() >= min(weighting.settings) * (1 - 1e-12)
    assert weights.max() <= max(weighting.settings) * (1 + 1e-12)


@settings(deadline=None)
@given(rows=probability_rows(), weighting=WEIGHTINGS, seed=st.integers(0, 2**32 - 1))
def test_shuffled_weights_are_the_same_weights(
    rows: Floats, weighting: Weighting, seed: int
) -> None:
    tokens = tokens_for(rows)
    shuffled = weighting.model_copy(update={"shuffled": True})
    dealt = severity_weights(rows, shuffled, seed=seed, tokens=tokens)
    plain = severity_weights(rows, weighting, seed=seed, tokens=tokens)
    assert sorted(dealt) == sorted(plain)
    assert (dealt == severity_weights(rows, shuffled, seed=seed, tokens=tokens)).all()


def test_shuffled_weights_change_with_the_seed_and_plain_ones_do_not() -> None:
    rows = np.random.default_rng(0).dirichlet([1, 1, 1], size=50)
    tokens = tokens_for(rows)
    first, second = (
        severity_weights(rows, preset(SHUFFLED), seed=seed, tokens=tokens) for seed in (1, 2)
    )
    assert (first != second).any()
    first, second = (
        severity_weights(rows, preset("balanced"), seed=seed, tokens=tokens) for seed in (1, 2)
    )
    assert (first == second).all()


@settings(deadline=None)
@given(rows=probability_rows(), weighting=WEIGHTINGS, shuffled=st.booleans())
def test_normalised_weights_average_one_over_the_tokens(
    rows: Floats, weighting: Weighting, shuffled: bool
) -> None:
    tokens = tokens_for(rows)
    normalised = weighting.model_copy(update={"normalise": "mean", "shuffled": shuffled})
    weights = severity_weights(rows, normalised, seed=3, tokens=tokens)
    average = sum(w * n for w, n in zip(weights, tokens, strict=True)) / sum(tokens)
    assert average == pytest.approx(1.0, rel=1e-12)
    plain = weighting.model_copy(update={"shuffled": shuffled})
    unscaled = severity_weights(rows, plain, seed=3, tokens=tokens)
    np.testing.assert_allclose(weights * unscaled.sum(), unscaled * weights.sum(), rtol=1e-9)


@settings(deadline=None)
@given(rows=probability_rows())
def test_equal_factors_normalised_are_the_uniform_weights(rows: Floats) -> None:
    tokens = tokens_for(rows)
    twos = Weighting(alpha=2, beta=2, gamma=2, normalise="mean")
    assert twos.is_uniform
    weights = severity_weights(rows, twos, seed=1, tokens=tokens)
    uniform = severity_weights(rows, preset("uniform"), seed=1, tokens=tokens)
    np.testing.assert_allclose(weights, uniform, rtol=1e-12)
    np.testing.assert_allclose(uniform, 1.0, rtol=1e-12)


def test_factors_that_are_all_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing would be learnt"):
        Weighting(alpha=0, beta=0, gamma=0)


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_factors_that_are_no_weights_are_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="gamma"):
        Weighting(alpha=1, beta=1, gamma=factor)


def test_a_training_set_without_any_weight_is_refused() -> None:
    rows = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    only_critical = Weighting(alpha=0, beta=0, gamma=1)
    with pytest.raises(SettingsError, match="every training example has weight 0"):
        severity_weights(rows, only_critical, seed=1, tokens=np.array([5, 5]))


def test_presets_are_those_of_the_paper() -> None:
    assert PRESETS == {
        "uniform": (1.0, 1.0, 1.0),
        "mild": (0.75, 1.0, 1.25),
        "balanced": (0.5, 1.0, 1.5),
        "strong": (0.25, 1.0, 1.75),
    }
    for name, factors in PRESETS.items():
        assert preset(name).settings == factors
        assert not preset(name).shuffled
    assert preset(SHUFFLED).shuffled
    assert preset(SHUFFLED).settings == PRESETS["balanced"]
    assert [name for name in PRESETS if preset(name).is_uniform] == ["uniform"]


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'sever'; known: uniform, mild, balanced, strong, shuf"):
        weighting_from("sever")


def test_probabilities_are_read_in_order() -> None:
    found = probabilities_of(consultations_with(PRINTED), preset("balanced"))
    np.testing.assert_array_equal(found, np.array(PRINTED))


def test_a_uniform_weighting_needs_no_probabilities() -> None:
    bare = [Consultation("a", "c", "r"), Consultation("b", "c", "r")]
    rows = probabilities_of(bare, preset("uniform"))
    assert rows.shape == (2, 3)
    weights = severity_weights(rows, preset("uniform"), seed=1, tokens=np.array([3, 9]))
    np.testing.assert_allclose(weights, 1.0)


@pytest.mark.parametrize("name", ["balanced", SHUFFLED])
def test_another_weighting_names_who_has_none(name: str) -> None:
    mixed = [*consultations_with(PRINTED), Consultation("bare-7", "my head", "r")]
    with pytest.raises(DataError, match=r"bare-7 .*\n.*tarjih severity score") as caught:
        probabilities_of(mixed, preset(name))
    assert "my head" not in str(caught.value)


def test_no_consultations_have_no_rows() -> None:
    assert probabilities_of([], preset("balanced")).shape == (0, 3)


@settings(deadline=None)
@given(weights=st.lists(st.floats(0.001, 1000), min_size=1, max_size=60))
def test_the_spread_is_that_of_the_weights(weights: list[float]) -> None:
    spread = weight_spread(np.array(weights), [Consultation("x", "c", "r")] * len(weights))
    square = sum(weight * weight for weight in weights)
    share = sum(weights) ** 2 / (len(weights) * square)
    assert spread.examples == len(weights)
    assert spread.effective_sample_share == pytest.approx(share, rel=1e-9)
    assert 1 / len(weights) * (1 - 1e-9) <= spread.effective_sample_share <= 1 + 1e-9
    assert spread.minimum == min(weights)
    assert spread.maximum == max(weights)
    assert spread.mean == pytest.approx(sum(weights) / len(weights))
    assert spread.minimum <= spread.p05 <= spread.median <= spread.p95 <= spread.maximum
    assert sum(spread.histogram_counts) == len(weights)
    assert len(spread.histogram_edges) == len(spread.histogram_counts) + 1
    assert spread.histogram_edges == sorted(set(spread.histogram_edges))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_weights_that_differ_by_rounding_alone_have_a_histogram(scale: float) -> None:
    weights = np.array([1.0, 1.0 - 2**-53, 1.0 + 2**-52]) * scale
    spread = weight_spread(weights, [Consultation("x", "c", "r")] * 3)
    assert sum(spread.histogram_counts) == 3
    assert spread.flat


def test_known_shares_of_the_severities() -> None:
    labelled = [
        Consultation(str(i), "c", "r", labelled_severity=severity)
        for i, severity in enumerate([SEVERITIES[0], SEVERITIES[0], SEVERITIES[2]])
    ]
    spread = weight_spread(np.array([0.5, 1.5, 2.0]), labelled)
    assert spread.mean_by_severity == {"non_critical": 1.0, "critical": 2.0}
    assert spread.loss_share_by_severity == {"non_critical": 0.5, "critical": 0.5}
    # (0.5 + 1.5 + 2)^2 / (3 * (0.25 + 2.25 + 4))
    assert spread.effective_sample_share == pytest.approx(16 / 19.5)


def spread_and_warning(rows: Any, weighting: Weighting) -> tuple[bool, str | None]:
    consultations = consultations_with(rows)
    probabilities = probabilities_of(consultations, weighting)
    weights = severity_weights(probabilities, weighting, seed=1, tokens=tokens_for(probabilities))
    spread = weight_spread(weights, consultations)
    return spread.flat, flatness_warning(spread, weighting)


def test_the_papers_printed_probabilities_are_too_flat() -> None:
    # 0.5 * 0.37 + 0.35 + 1.5 * 0.28 = 0.955, and 0.5 * 0.32 + 0.32 + 1.5 * 0.36 = 1.02
    flat, warning = spread_and_warning(PRINTED * 10, preset("balanced"))
    assert flat
    assert warning is not None
    assert "between 0.955 and 1.020" in warning


def test_sharp_probabilities_are_not_flat() -> None:
    sharp = [(0.9, 0.05, 0.05), (0.1, 0.8, 0.1), (0.05, 0.05, 0.9)] * 10
    assert spread_and_warning(sharp, preset("balanced")) == (False, None)


def test_flat_weights_are_meant_where_the_weighting_is_uniform() -> None:
    assert spread_and_warning(PRINTED * 10, preset("uniform")) == (True, None)


def test_an_example_without_a_severity_counts_for_none() -> None:
    spread = weight_spread(
        np.array([1.0, 3.0]),
        [Consultation("a", "c", "r"), Consultation("b", "c", "r", None, None, Severity.NEUTRAL)],
    )
    assert spread.mean_by_severity == {"neutral": 3.0}


def labelled_with(rows: Any, labels: list[Severity]) -> list[Consultation]:
    return [
        Consultation(one.id, "c", "r", None, None, label, one.probabilities)
        for one, label in zip(consultations_with(rows), labels, strict=True)
    ]


def contrast(**changes: Any) -> Weighting:
    return preset("balanced").model_copy(update=changes)


@given(rows=probability_rows())
def test_sharpness_1_leaves_the_probabilities_as_they_are(rows: Floats) -> None:
    found = probabilities_of(consultations_with(rows), contrast(sharpness=1.0))
    np.testing.assert_array_equal(found, rows)


@given(rows=probability_rows(), sharpness=st.floats(0.1, 20))
def test_sharpened_probabilities_are_powers_made_to_sum_to_1(
    rows: Floats, sharpness: float
) -> None:
    found = probabilities_of(consultations_with(rows), contrast(sharpness=sharpness))
    for sharpened, row in zip(found.tolist(), rows.tolist(), strict=True):
        powers = [p**sharpness for p in row]
        assert sharpened == pytest.approx([power / sum(powers) for power in powers], abs=1e-12)


@given(rows=probability_rows(), low=st.floats(0.2, 3), more=st.floats(0.1, 5))
def test_more_sharpness_puts_more_on_the_most_likely_and_keeps_the_order(
    rows: Floats, low: float, more: float
) -> None:
    consultations = consultations_with(rows)
    softer = probabilities_of(consultations, contrast(sharpness=low))
    sharper = probabilities_of(consultations, contrast(sharpness=low + more))
    assert (sharper.max(axis=1) >= softer.max(axis=1) - 1e-12).all()
    assert (sharper.min(axis=1) <= softer.min(axis=1) + 1e-12).all()
    for before, after in zip(softer, sharper, strict=True):
        order = np.argsort(before, kind="stable")
        assert (np.diff(after[order]) >= -1e-12).all()


@given(rows=probability_rows())
def test_very_sharp_probabilities_are_hard_ones(rows: Floats) -> None:
    ordered = np.sort(rows, axis=1)
    clear = rows[ordered[:, 2] > 1.05 * ordered[:, 1]]
    consultations = consultations_with(clear)
    sharp = probabilities_of(consultations, contrast(sharpness=1e4))
    hard = probabilities_of(consultations, contrast(severity="hard"))
    np.testing.assert_allclose(sharp, hard, atol=1e-12)


def test_extreme_sharpness_stays_finite() -> None:
    rows = [(1.0, 0.0, 0.0), (0.998, 0.001, 0.001), (1 / 3, 1 / 3, 1 / 3)]
    for sharpness in (1e-6, 1e9):
        found = probabilities_of(consultations_with(rows), contrast(sharpness=sharpness))
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.sum(axis=1), 1)


@given(rows=probability_rows(), weighting=WEIGHTINGS, sharpness=st.floats(0.1, 50))
def test_weights_of_any_contrast_lie_between_the_factors(
    rows: Floats, weighting: Weighting, sharpness: float
) -> None:
    labels = [SEVERITIES[number % 3] for number in range(len(rows))]
    for changes in ({"sharpness": sharpness}, {"severity": "hard"}, {"severity": "labelled"}):
        chosen = weighting.model_copy(update=changes)
        probabilities = probabilities_of(labelled_with(rows, labels), chosen)
        try:
            weights = severity_weights(probabilities, chosen, seed=1, tokens=tokens_for(rows))
        except SettingsError:  # all weight lies on severities that do not occur
            assert "severity" in changes
            continue
        assert weights.min() >= min(chosen.settings) * (1 - 1e-9)
        assert weights.max() <= max(chosen.settings) * (1 + 1e-9)
        if "severity" in changes:
            assert set(weights) <= set(chosen.settings)


def test_hard_severities_are_the_most_likely_and_of_equals_the_more_severe() -> None:
    rows = [(0.5, 0.3, 0.2), (0.4, 0.4, 0.2), (0.1, 0.45, 0.45)]
    found = probabilities_of(consultations_with(rows), contrast(severity="hard"))
    assert found.argmax(axis=1).tolist() == [0, 1, 2]
    assert found.sum(axis=1).tolist() == [1, 1, 1]
    assert found.max() == 1


def test_labelled_severities_are_those_that_people_chose() -> None:
    labels = [Severity.CRITICAL, Severity.NON_CRITICAL, Severity.NEUTRAL]
    found = probabilities_of(labelled_with(PRINTED, labels), contrast(severity="labelled"))
    assert found.argmax(axis=1).tolist() == [2, 0, 1]
    without = [Consultation("a", "c", "r", None, None, labels[0])]  # no probabilities are needed
    assert probabilities_of(without, contrast(severity="labelled")).tolist() == [[0, 0, 1]]


def test_a_label_that_is_missing_is_named() -> None:
    rows = [*labelled_with(PRINTED[:1], [Severity.NEUTRAL]), *consultations_with(PRINTED)]
    with pytest.raises(DataError, match=r"consultation 0 has no severity that a person chose"):
        probabilities_of(rows, contrast(severity="labelled"))


def test_uniform_weights_need_neither_labels_nor_probabilities() -> None:
    bare = [Consultation("a", "c", "r")]
    for severity in ("predicted", "hard", "labelled"):
        uniform = preset("uniform").model_copy(update={"severity": severity})
        assert probabilities_of(bare, uniform).shape == (1, 3)
        assert not uniform.needs_probabilities
    assert contrast().needs_probabilities
    assert contrast(severity="hard").needs_probabilities
    assert not contrast(severity="labelled").needs_probabilities


@pytest.mark.parametrize("severity", ["hard", "labelled"])
def test_sharpness_of_what_is_sharp_already_is_refused(severity: str) -> None:
    with pytest.raises(ValueError, match=f"does nothing to {severity}"):
        Weighting.model_validate(
            {"alpha": 1, "beta": 1, "gamma": 2, "severity": severity, "sharpness": 2}
        )


def test_weightings_from_text() -> None:
    assert weighting_from_text("strong") == preset("strong")
    assert weighting_from_text(SHUFFLED).shuffled
    assert weighting_from_text("gamma=3") == contrast(gamma=3.0)
    assert weighting_from_text("strong,sharpness=2") == preset("strong").model_copy(
        update={"sharpness": 2.0}
    )
    assert weighting_from_text("shuffled, normalise=mean").model_dump() == {
        **preset(SHUFFLED).model_dump(),
        "normalise": "mean",
    }
    for wrong, what in (("strng", "no weighting 'strng'"), ("strong,gama=2", "'gamma'")):
        with pytest.raises(SettingsError, match=what):
            weighting_from_text(wrong)


@given(weights=st.lists(st.floats(0.001, 1000), min_size=1, max_size=40))
def test_the_share_of_the_gradient_counts_tokens(weights: list[float]) -> None:
    values = np.array(weights)
    tokens = tokens_for(values)
    severities = [SEVERITIES[number % 3] for number in range(len(weights))]
    consultations = [Consultation("x", "c", "r", None, None, severity) for severity in severities]
    spread = weight_spread(values, consultations, tokens)
    shares = spread.gradient_share_by_severity
    whole = sum(weight * count for weight, count in zip(weights, tokens, strict=True))
    for severity in SEVERITIES[: len(weights)]:
        part = sum(
            weight * count
            for weight, count, of in zip(weights, tokens, severities, strict=True)
            if of is severity
        )
        assert shares[str(severity)] == pytest.approx(part / whole)
    assert sum(shares.values()) == pytest.approx(1)
    alike = weight_spread(values, consultations, np.full(len(values), 7))
    assert alike.gradient_share_by_severity == pytest.approx(spread.loss_share_by_severity)
    assert weight_spread(values, consultations).gradient_share_by_severity == {}
