from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarjih.data.labels import LABELS, parse_probabilities, parse_severity, probability_scale
from tarjih.records import SEVERITIES, Severity


@pytest.mark.parametrize(
    ("label", "severity"),
    [
        ("Non-Critical", Severity.NON_CRITICAL),
        ("NON_CRITICAL", Severity.NON_CRITICAL),
        ("\u063a\u064a\u0631 \u062d\u064e\u0631\u0650\u062c ", Severity.NON_CRITICAL),
        ("\u063a\u064a\u0631 \u062d\u0631\u062c\u0647", Severity.NON_CRITICAL),
        ("Moderate", Severity.NEUTRAL),
        ("\u0645\u062a\u0648\u0633\u0637\u0629", Severity.NEUTRAL),
        ("critical", Severity.CRITICAL),
        ("\u062d\u0631\u062c", Severity.CRITICAL),
    ],
)
def test_labels_are_read_in_both_languages(label: str, severity: Severity) -> None:
    assert parse_severity(label) is severity


def test_every_severity_is_its_own_label() -> None:
    assert [parse_severity(severity) for severity in SEVERITIES] == list(SEVERITIES)
    assert set(LABELS.values()) == set(SEVERITIES)


def test_an_unknown_label_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known are non_critical"):
        parse_severity("green")


def test_further_labels_win() -> None:
    extra = {"Green": Severity.NON_CRITICAL, "high": Severity.NEUTRAL}

    assert parse_severity("green ", extra) is Severity.NON_CRITICAL
    assert parse_severity("High", extra) is Severity.NEUTRAL


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=3, max_size=3).filter(lambda p: sum(p) > 0))
def test_percentages_and_fractions_mean_the_same(parts: list[int]) -> None:
    fractions = [part / sum(parts) for part in parts]
    percentages = [repr(100 * fraction) for fraction in fractions]

    assert probability_scale([percentages]) == 100.0
    assert probability_scale([[repr(fraction) for fraction in fractions]]) == 1.0
    assert parse_probabilities(percentages, 100.0).as_tuple() == pytest.approx(fractions)


def test_arabic_digits_and_percent_signs_are_read() -> None:
    texts = ["\u0663\u0662\u066a", "32 %", "\u0663\u0666\u066b\u0660"]

    assert probability_scale([texts]) == 100.0
    assert parse_probabilities(texts, 100.0).as_tuple() == pytest.approx((0.32, 0.32, 0.36))


def test_damaged_rows_do_not_decide_the_scale() -> None:
    assert (
        probability_scale([["0.2", "0.3", "0.5"]] * 3 + [["90", "5", "5"], ["x", "", "1"]]) == 1.0
    )
    assert probability_scale([["x", "", "1"]] * 2 + [["30", "30", "40"]]) == 100.0
    assert probability_scale([]) == 1.0


@pytest.mark.parametrize("texts", [["0.33", "0.33", "0.33"], ["0.34", "0.34", "0.33"]])
def test_what_rounding_to_two_decimals_loses_is_given_back(texts: list[str]) -> None:
    found = parse_probabilities(texts, 1.0).as_tuple()

    assert sum(found) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    "texts",
    [
        ["nan", "0.5", "0.5"],
        ["", "0.5", "0.5"],
        ["inf", "0", "0"],
        ["0.5", "0.3", "0.1"],
        ["0.5", "0.6", "-0.1"],
        ["0.35", "0.35", "0.33"],  # nor do two decimals explain three hundredths
        ["0.333", "0.333", "0.325"],  # three decimals explain no such loss
        ["high", "0", "1"],
    ],
)
def test_what_is_no_distribution_is_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="probabilities must"):
        parse_probabilities(texts, 1.0)
