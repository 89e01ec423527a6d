from __future__ import annotations

import math
import random
from itertools import chain, combinations, groupby, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from severity.conftest import Told
from tarjih.records import SEVERITIES, Consultation, Severity
from tarjih.severity.stretches import (
    log10_expected_gaps,
    sorted_runs,
    suspicious_stretches,
    warn_of_stretches,
)

NON_CRITICAL, NEUTRAL, CRITICAL = SEVERITIES
SHUFFLES = 1500


def drawn(
    rows: int, draw: random.Random, shares: tuple[float, float, float] = (0.3, 0.3, 0.4)
) -> list[Severity]:
    """Labels that do not depend on each other."""
    return draw.choices(SEVERITIES, shares, k=rows)


def drawn_without(missing: Severity, rows: int, draw: random.Random) -> list[Severity]:
    return draw.choices([one for one in SEVERITIES if one is not missing], k=rows)


def shares_of(labels: list[Severity]) -> tuple[float, ...]:
    return tuple(labels.count(one) / len(labels) for one in SEVERITIES)


def consultations(labels: list[Severity]) -> list[Consultation]:
    return [
        Consultation(str(row), "c", "r", labelled_severity=one) for row, one in enumerate(labels)
    ]


def test_expected_gaps_counted_by_hand() -> None:
    # One marked row of four leaves gaps of 0 and 3, 1 and 2, 2 and 1, or 3 and 0 rows.
    assert log10_expected_gaps(4, 1, 2) == pytest.approx(math.log10(1.0))
    assert log10_expected_gaps(4, 1, 3) == pytest.approx(math.log10(2 / 4))
    assert log10_expected_gaps(4, 1, 1) == pytest.approx(math.log10(6 / 4))
    assert log10_expected_gaps(4, 1, 4) == -math.inf
    assert log10_expected_gaps(4, 0, 4) == 0.0
    assert log10_expected_gaps(4, 4, 0) == pytest.approx(math.log10(5))


@given(rows=st.integers(1, 9), data=st.data())
def test_expected_gaps_are_the_mean_over_all_orders(rows: int, data: st.DataObject) -> None:
    marked = data.draw(st.integers(0, rows))
    length = data.draw(st.integers(1, rows))
    gaps = []
    for places in combinations(range(rows), marked):
        edges = [-1, *places, rows]
        gaps.append(sum(stop - start - 1 >= length for start, stop in pairwise(edges)))
    found = log10_expected_gaps(rows, marked, length)
    assert 10**found == pytest.approx(float(np.mean(gaps)), rel=1e-9)


@given(rows=st.integers(1, 5000), data=st.data())
def test_expected_gaps_are_hypergeometric(rows: int, data: st.DataObject) -> None:
    marked = data.draw(st.integers(0, rows))
    length = data.draw(st.integers(0, rows - marked))
    first_gap = hypergeom(rows, marked, length).logpmf(0)
    expected = (math.log(marked + 1) + first_gap) / math.log(10)
    assert log10_expected_gaps(rows, marked, length) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_shuffled_labels_are_hardly_ever_suspicious() -> None:
    """At most 6 times `chance` of random orders: three severities, each with two kinds of runs."""
    alarms = dict.fromkeys((0.02, 0.002, 1e-6), 0)
    for seed in range(SHUFFLES):
        draw = random.Random(seed)
        labels = drawn(120, draw, draw.choice([(0.3, 0.3, 0.4), (0.8, 0.15, 0.05)]))
        for chance in alarms:
            found = suspicious_stretches(labels, chance=chance), sorted_runs(labels, chance=chance)
            alarms[chance] += any(found)
    assert 0 < alarms[0.02] <= 6 * 0.02 * SHUFFLES
    assert alarms[0.002] <= 6 * 0.002 * SHUFFLES
    assert alarms[1e-6] == 0


@given(
    before=st.integers(0, 400),
    rows=st.integers(120, 500),
    missing=st.sampled_from(SEVERITIES),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_planted_stretch_is_found_with_its_ends(
    before: int, rows: int, missing: Severity, seed: int
) -> None:
    draw = random.Random(seed)
    head, tail = drawn(before, draw), drawn(500 - before, draw)
    if head:
        head[-1] = missing
    tail[0] = missing
    inside = drawn_without(missing, rows, draw)
    (found,) = suspicious_stretches(head + inside + tail)
    assert (found.first_row, found.last_row) == (before + 1, before + rows)
    assert found.rows == rows
    assert found.missing is missing
    assert found.inside == pytest.approx(shares_of(inside))
    assert found.outside == pytest.approx(shares_of(head + tail))
    marked = (head + tail).count(missing)
    assert found.log10_chance == log10_expected_gaps(500 + rows, marked, rows) < -6


def test_a_stretch_may_be_at_the_end_and_have_one_label() -> None:
    draw = random.Random(0)
    labels = [*drawn(400, draw), CRITICAL, *drawn_without(CRITICAL, 100, draw)]
    (found,) = suspicious_stretches(labels)
    assert (found.first_row, found.last_row, found.missing) == (402, 501, CRITICAL)
    labels[401:] = [NEUTRAL] * 100
    (run,) = sorted_runs(labels)
    assert (run.first_row, run.last_row, run.label, run.rows) == (402, 501, NEUTRAL, 100)
    assert suspicious_stretches(labels) == []


def test_what_a_stretch_leaves_scarce_elsewhere_is_not_suspicious() -> None:
    """Critical labels are many in the stretch, and so few elsewhere that gaps mean nothing."""
    draw = random.Random(3)
    rest = [NON_CRITICAL, *drawn(999, draw, (0.56, 0.4, 0.04))]
    labels = drawn_without(NON_CRITICAL, 1000, draw) + rest
    longest = max(len(list(rows)) for rare, rows in groupby(rest, CRITICAL.__eq__) if not rare)
    assert log10_expected_gaps(2000, labels.count(CRITICAL), longest) < -6
    (found,) = suspicious_stretches(labels)
    assert (found.first_row, found.last_row, found.missing) == (1, 1000, NON_CRITICAL)


def test_several_stretches_come_the_least_likely_first() -> None:
    draw = random.Random(1)
    parts = [
        [*drawn(300, draw), NEUTRAL],
        drawn_without(NEUTRAL, 90, draw),
        [NEUTRAL, *drawn(300, draw), CRITICAL],
        drawn_without(CRITICAL, 200, draw),
        [CRITICAL, *drawn(100, draw)],
    ]
    found = suspicious_stretches(list(chain(*parts)))
    assert [(one.first_row, one.last_row, one.missing) for one in found] == [
        (694, 893, CRITICAL),
        (302, 391, NEUTRAL),
    ]
    outside = parts[0] + parts[2] + parts[4]
    assert all(one.outside == pytest.approx(shares_of(outside)) for one in found)


@given(
    order=st.permutations(SEVERITIES),
    counts=st.tuples(*[st.integers(30, 400)] * 3),
    shuffled=st.integers(0, 300),
)
def test_sorted_rows_are_told_apart(
    order: list[Severity], counts: tuple[int, int, int], shuffled: int
) -> None:
    """Every label lacks the other two for long: that is one thing, and another than a stretch."""
    blocks = [[label] * count for label, count in zip(order, counts, strict=True)]
    labels = list(chain(*blocks, drawn(shuffled, random.Random(0))))
    assert suspicious_stretches(labels) == []
    runs = sorted_runs(labels)
    assert [run.label for run in runs] == list(order)
    assert [run.rows for run in runs][:2] == list(counts[:2])
    told = Told()
    warn_of_stretches(consultations(labels), told)
    assert told.warnings == []
    (note,) = told.notes
    assert "sorted by label" in note


@pytest.mark.parametrize(
    "labels",
    [
        [],
        [CRITICAL],
        [CRITICAL] * 500,
        [NEUTRAL, CRITICAL] * 250,
        [NON_CRITICAL, NEUTRAL, CRITICAL] * 5,
        [NON_CRITICAL] * 5 + [NEUTRAL] * 5 + [CRITICAL] * 3,
    ],
)
def test_files_that_say_nothing(labels: list[Severity]) -> None:
    assert suspicious_stretches(labels) == []


def test_the_warning_names_rows_shares_and_remedy(told: Told) -> None:
    draw = random.Random(2)
    ten = [CRITICAL] * 5 + [NEUTRAL] * 2 + [NON_CRITICAL] * 3
    labels = ten * 100 + drawn_without(NON_CRITICAL, 1200, draw) + ten[::-1]
    warn_of_stretches(consultations(labels), told)
    (warning,) = told.warnings
    (found,) = suspicious_stretches(labels)
    digits = -math.ceil(found.log10_chance)
    assert 10 ** (found.log10_chance + digits) <= 1.0
    assert (
        "rows 1,001-2,200 (1,200 rows): none is non-critical, as 30% of the rows outside are; in a "
        f"random order a chance below 1 in 10^{digits}\n" in warning
    )
    assert "What to do: " in warning
    assert "tarjih severity review" in warning
    assert told.notes == []
    warn_of_stretches(consultations(draw.sample(labels, len(labels))), told)
    assert len(told.warnings) == 1


def test_a_long_list_is_shortened(told: Told) -> None:
    draw = random.Random(4)
    labels = drawn(3000, draw)
    for _ in range(7):
        labels += [CRITICAL, *drawn_without(CRITICAL, 100, draw), CRITICAL, *drawn(500, draw)]
    warn_of_stretches(consultations(labels), told)
    (warning,) = told.warnings
    assert warning.count("none is critical") == 5
    assert "and 2 more" in warning
