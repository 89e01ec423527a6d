from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarjih.data.split import SPLITS, assign_splits
from tarjih.errors import DataError

FRACTIONS = {"validation": 0.1, "test": 0.2}
GROUPS = st.lists(st.integers(0, 60), min_size=40, max_size=200).filter(
    lambda groups: len(set(groups)) >= 10
)


def split(groups: list[str], strata: list[str] | None = None, seed: int = 0) -> list[str]:
    return assign_splits(groups, strata or ["all"] * len(groups), FRACTIONS, seed)


@settings(deadline=None)
@given(groups=GROUPS, seed=st.integers(0, 5), data=st.data())
def test_groups_stay_whole_and_sizes_are_within_a_group(
    groups: list[int], seed: int, data: st.DataObject
) -> None:
    names = [str(group) for group in groups]
    strata = data.draw(st.lists(st.sampled_from("abc"), min_size=len(names), max_size=len(names)))

    splits = split(names, strata, seed)

    assert len({(name, place) for name, place in zip(names, splits, strict=True)}) == len(
        set(names)
    )
    rows = Counter(splits)
    assert set(rows) == set(SPLITS)
    largest = max(Counter(names).values())
    for place, fraction in FRACTIONS.items():
        assert abs(rows[place] - fraction * len(names)) <= largest + 0.5


@settings(deadline=None)
@given(groups=GROUPS, seed=st.integers(0, 5), order=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_makes_no_difference(
    groups: list[int], seed: int, order: random.Random
) -> None:
    rows = [(str(group), "ab"[group % 2]) for group in groups]
    shuffled = order.sample(rows, len(rows))

    def places(rows: list[tuple[str, str]]) -> dict[str, str]:
        names, strata = [row[0] for row in rows], [row[1] for row in rows]
        return dict(zip(names, split(names, strata, seed), strict=True))

    assert places(rows) == places(shuffled)


def test_single_rows_give_exact_sizes_in_every_stratum() -> None:
    names = [str(n) for n in range(1000)]
    strata = ["rare" if n < 50 else "common" for n in range(1000)]

    counts = Counter(zip(split(names, strata), strata, strict=True))

    assert counts == {
        ("train", "common"): 665,
        ("validation", "common"): 95,
        ("test", "common"): 190,
        ("train", "rare"): 35,
        ("validation", "rare"): 5,
        ("test", "rare"): 10,
    }


def test_the_seed_changes_the_split_and_nothing_else_does() -> None:
    names = [str(n) for n in range(100)]

    assert split(names, seed=1) == split(names, seed=1)
    assert split(names, seed=1) != split(names, seed=2)


def test_a_giant_group_goes_to_train() -> None:
    names = ["giant"] * 60 + [str(n) for n in range(40)]

    splits = split(names)

    assert set(splits[:60]) == {"train"}
    assert Counter(splits) == {"train": 70, "validation": 10, "test": 20}


def test_large_groups_fill_a_held_out_split_only_when_single_rows_do_not() -> None:
    names = [f"pair {n // 8}" for n in range(40)] + [str(n) for n in range(160)]

    held_out = {n for n, place in zip(names, split(names), strict=True) if place != "train"}

    assert not any(name.startswith("pair") for name in held_out)


def test_what_no_stratum_can_fill_alone_is_filled_by_any() -> None:
    # The quotas of a stratum are 4 and 2 rows, which groups of 3 cannot make; together they can.
    names = [str(n // 3) for n in range(60)]

    splits = split(names, ["abc"[n // 3 % 3] for n in range(60)])

    assert Counter(splits) == {"train": 42, "validation": 6, "test": 12}


def test_groups_larger_than_a_split_still_give_each_split_one() -> None:
    assert Counter(split(["a", "a", "b", "b", "c", "c"])) == {
        "train": 2,
        "validation": 2,
        "test": 2,
    }


@pytest.mark.parametrize("groups", [["a"], ["a", "b"], ["a"] * 50 + ["b"], []])
def test_too_few_groups_are_an_error(groups: list[str]) -> None:
    with pytest.raises(DataError, match=rf"{len(groups)} rows in .* too few"):
        split(groups)
