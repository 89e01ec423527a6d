from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.agreement import agreement, coincidences, krippendorff_alpha, ordinal_alpha

Labels = list[list[Severity | None]]

LABELS = st.lists(
    st.lists(st.sampled_from(SEVERITIES) | st.none(), min_size=3, max_size=3),
    min_size=2,
    max_size=20,
)
# "C" data: four observers, twelve units, values 1 to 5 (Krippendorff, "Computing Krippendorff's
# Alpha-Reliability", 2011, section C). None where an observer gave no value.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def by_pairs(rated: list[list[int]]) -> float:
    """The definition, pair by pair: D_o and D_e of Krippendorff 2011, section E."""
    rated = [unit for unit in rated if len(unit) > 1]
    values = [value for unit in rated for value in unit]

    def distance(one: int, other: int) -> float:
        low, high = sorted((one, other))
        between = sum(values.count(value) for value in range(low, high + 1))
        return (between - (values.count(low) + values.count(high)) / 2) ** 2

    observed = sum(
        distance(*pair) / (len(unit) - 1) for unit in rated for pair in permutations(unit, 2)
    ) / len(values)
    expected = sum(distance(*pair) for pair in permutations(values, 2)) / (
        len(values) * (len(values) - 1)
    )
    return 1 - observed / expected


def test_the_published_example() -> None:
    counts = np.zeros((12, 5))
    for observer in PUBLISHED:
        for unit, value in enumerate(observer):
            if value is not None:
                counts[unit, value - 1] += 1
    table = coincidences(counts).sum(axis=0)
    # The coincidence matrix that the paper prints, and its ordinal alpha of 0.815.
    printed = [[7, 4 / 3, 1 / 3, 1 / 3, 0], [0, 10, 4 / 3, 1 / 3, 0], [0, 0, 8, 1 / 3, 0]]
    assert np.triu(table)[:3] == pytest.approx(np.array(printed))
    assert table == pytest.approx(table.T)
    assert table.sum(axis=0) == pytest.approx([9, 13, 10, 5, 3])
    assert float(ordinal_alpha(table)) == pytest.approx(0.815, abs=5e-4)
    units = [[row[unit] for row in PUBLISHED] for unit in range(12)]
    rated = [[value for value in unit if value is not None] for unit in units]
    assert float(ordinal_alpha(table)) == pytest.approx(by_pairs(rated), abs=1e-12)


@given(labels=LABELS)
def test_it_is_what_its_definition_says(labels: Labels) -> None:
    rated = [[SEVERITIES.index(x) for x in unit if x is not None] for unit in labels]
    assume(len({x for unit in rated if len(unit) > 1 for x in unit}) > 1)
    assert krippendorff_alpha(labels) == pytest.approx(by_pairs(rated), abs=1e-12)


@given(labels=LABELS)
def test_all_measures_are_those_of_independent_counts(labels: Labels) -> None:
    rated = [[x for x in unit if x is not None] for unit in labels]
    assume(len({x for unit in rated if len(unit) > 1 for x in unit}) > 1)
    found = agreement(labels, resamples=20)
    pairs = [pair for unit in rated for pair in combinations(unit, 2)]
    assert found.complaints == sum(len(unit) > 1 for unit in rated)
    assert found.same_label.value == pytest.approx(np.mean([one == two for one, two in pairs]))
    assert found.alpha.value == pytest.approx(krippendorff_alpha(labels))


def two_people(rows: int, seed: int) -> Labels:
    random = np.random.default_rng(seed)
    first = random.integers(0, 3, rows)
    second = np.clip(first + random.integers(-1, 2, rows), 0, 2)
    sides = zip(first, second, strict=True)
    return [[SEVERITIES[one], SEVERITIES[two]] for one, two in sides]


def test_kappa_is_scikit_learns() -> None:
    labels = two_people(80, seed=3)
    # Neither a third column in which nobody labelled nor complaints of one person change it.
    wider: Labels = [[two, None, one] for one, two in labels]
    found = agreement([*wider, [None, None, SEVERITIES[0]]], resamples=50)
    first, second = ([str(row[side]) for row in labels] for side in (0, 1))
    expected = cohen_kappa_score(
        first, second, weights="quadratic", labels=[str(one) for one in SEVERITIES]
    )
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(expected)
    assert (found.people, found.complaints) == (2, 80)
    third: Labels = [[*row, SEVERITIES[0]] for row in labels]
    assert agreement(third, resamples=5).kappa is None


def test_intervals_hold_the_value_as_often_as_they_say() -> None:
    truth = krippendorff_alpha(two_people(50_000, seed=99))
    held, widths = 0, {}
    for rows in (60, 240):
        found = [agreement(two_people(rows, seed), resamples=400) for seed in range(60)]
        alphas = [one.alpha for one in found]
        held += sum(a.low <= truth <= a.high for a in alphas if a.low and a.high)
        widths[rows] = np.mean([a.high - a.low for a in alphas if a.low and a.high])
    assert 0.88 <= held / 120 <= 1
    assert widths[240] == pytest.approx(widths[60] / 2, rel=0.15)


def test_the_same_seed_gives_the_same_intervals() -> None:
    labels = two_people(30, seed=1)
    assert agreement(labels, seed=4) == agreement(labels, seed=4) != agreement(labels, seed=5)


def test_one_severity_off_is_less_wrong_than_two() -> None:
    mild, neutral, critical = SEVERITIES
    alike: Labels = [[mild, mild], [neutral, neutral], [critical, critical]] * 4
    assert krippendorff_alpha(alike) == 1
    near = krippendorff_alpha([*alike, [mild, neutral]])
    far = krippendorff_alpha([*alike, [mild, critical]])
    assert 1 > near > far > 0


def test_labels_by_chance_agree_by_chance() -> None:
    random = np.random.default_rng(1)
    labels = [[SEVERITIES[i] for i in random.integers(0, 3, size=2)] for _ in range(4000)]
    assert krippendorff_alpha(labels) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    "labels", [[], [[Severity.CRITICAL, None]], [[Severity.CRITICAL, Severity.CRITICAL]] * 3]
)
def test_agreement_about_nothing_is_refused(labels: Labels) -> None:
    with pytest.raises(DataError, match="agreement is not defined"):
        krippendorff_alpha(labels)
    with pytest.raises(DataError, match="agreement is not defined"):
        agreement(labels)
