from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarjih.records import (
    PROBABILITY_COLUMNS,
    SEVERITIES,
    Consultation,
    Generation,
    Severity,
    SeverityDistribution,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
FLOATS = st.floats(min_value=0, max_value=1e6)
GENERATIONS = st.builds(
    Generation,
    id=TEXT,
    complaint=TEXT,
    reference=TEXT,
    answer=TEXT,
    severity=st.none() | st.sampled_from(SEVERITIES),
    severity_is_labelled=st.booleans(),
    specialty=st.none() | TEXT,
    new_tokens=st.integers(0, 10_000),
    stopped=st.booleans(),
    reference_loss=st.none() | FLOATS,
    reference_tokens=st.none() | st.integers(0, 10_000),
)


def test_severities_go_from_mild_to_severe() -> None:
    assert SEVERITIES == (Severity.NON_CRITICAL, Severity.NEUTRAL, Severity.CRITICAL)
    assert PROBABILITY_COLUMNS == ("p_non_critical", "p_neutral", "p_critical")


@settings(deadline=None)
@given(
    counts=st.tuples(*[st.integers(0, 1000)] * 3).filter(lambda counts: sum(counts) > 0),
)
def test_any_distribution_is_taken_as_it_is(counts: tuple[int, int, int]) -> None:
    values = tuple(count / sum(counts) for count in counts)
    assert SeverityDistribution(*values).as_tuple() == values


@pytest.mark.parametrize(
    "values",
    [
        (-0.1, 0.6, 0.5),
        (1.1, 0.0, -0.1),
        (math.nan, 0.5, 0.5),
        (math.inf, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (32.0, 32.0, 36.0),
        (0.33, 0.33, 0.33),
        (0.5, 0.5, 0.0011),
        (0.5, 0.4989, 0.0),
    ],
)
def test_what_is_no_distribution_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="probabilities must"):
        SeverityDistribution(*values)


def test_three_printed_decimals_are_enough() -> None:
    assert SeverityDistribution(0.333, 0.333, 0.333).p_critical == 0.333


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.6, 0.3, 0.1), Severity.NON_CRITICAL),
        ((0.2, 0.5, 0.3), Severity.NEUTRAL),
        ((0.2, 0.3, 0.5), Severity.CRITICAL),
        ((0.5, 0.5, 0.0), Severity.NEUTRAL),
        ((0.5, 0.0, 0.5), Severity.CRITICAL),
        ((0.0, 0.5, 0.5), Severity.CRITICAL),
        ((1 / 3, 1 / 3, 1 / 3), Severity.CRITICAL),
    ],
)
def test_of_equally_likely_severities_the_more_severe_counts(
    values: tuple[float, float, float], expected: Severity
) -> None:
    assert SeverityDistribution(*values).most_likely is expected


def test_a_persons_label_goes_before_the_annotators_estimate() -> None:
    estimate = SeverityDistribution(0.1, 0.2, 0.7)
    unlabelled = Consultation("1", "c", "r", probabilities=estimate)
    labelled = Consultation(
        "1", "c", "r", labelled_severity=Severity.NEUTRAL, probabilities=estimate
    )
    assert unlabelled.severity is Severity.CRITICAL
    assert labelled.severity is Severity.NEUTRAL
    assert Consultation("1", "c", "r").severity is None


@settings(deadline=None)
@given(generation=GENERATIONS)
def test_a_generation_comes_back_from_json(generation: Generation) -> None:
    text = json.dumps(generation.to_json(), ensure_ascii=False, allow_nan=False)
    back = Generation.from_json(json.loads(text))
    assert back == generation
    assert back.severity is None or isinstance(back.severity, Severity)


@pytest.mark.parametrize(
    "change", [{"severity": "urgent"}, {"unknown": 1}, {"id": None, "severity": 3}]
)
def test_a_wrong_or_unknown_field_of_a_generation_is_refused(change: dict[str, object]) -> None:
    known = Generation("1", "c", "r", "a", None, False, None, 1, True).to_json()
    with pytest.raises((TypeError, ValueError)):
        Generation.from_json({**known, **change})


def test_a_generation_without_an_answer_is_refused() -> None:
    known = Generation("1", "c", "r", "a", None, False, None, 1, True).to_json()
    del known["answer"]
    with pytest.raises(TypeError, match="answer"):
        Generation.from_json(known)
