from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.arabic.normalise import comparison_key
from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.folds import grouped_folds, near_duplicate_groups

N, M, C = SEVERITIES


def rows(count: int) -> list[Severity]:
    return [SEVERITIES[index % 3] for index in range(count)]


@given(
    st.lists(st.integers(0, 30), min_size=60, max_size=120),
    st.integers(2, 5),
    st.integers(0, 100),
)
def test_no_group_straddles_two_folds(groups: list[int], folds: int, seed: int) -> None:
    try:
        parts = grouped_folds(rows(len(groups)), groups, folds=folds, seed=seed)
    except DataError:
        assert len(set(groups)) < 15  # only few, large groups may be impossible to deal out
        return
    held_out_in: dict[int, set[int]] = {}
    for fold, (fitted, held_out) in enumerate(parts):
        assert set(fitted).isdisjoint(held_out)
        assert len(fitted) + len(held_out) == len(groups)
        for row in held_out:
            held_out_in.setdefault(groups[row], set()).add(fold)
    assert all(len(places) == 1 for places in held_out_in.values())
    assert sorted(int(row) for _, part in parts for row in part) == list(range(len(groups)))


def test_each_fold_has_about_its_share_of_each_severity() -> None:
    labels = [N] * 50 + [M] * 30 + [C] * 20
    for _, held_out in grouped_folds(labels, range(100), folds=5, seed=0):
        assert sorted(labels[row] for row in held_out) == [C] * 4 + [M] * 6 + [N] * 10


def test_folds_depend_on_the_seed_alone() -> None:
    def split(seed: int) -> list[list[int]]:
        parts = grouped_folds(rows(60), range(60), folds=3, seed=seed)
        return [held_out.tolist() for _, held_out in parts]

    assert split(1) == split(1)
    assert split(1) != split(2)


@pytest.mark.parametrize(
    ("labels", "groups", "what"),
    [
        ([N, M, C], [0, 1, 2], "3 labelled complaints are fewer than the 5 folds"),
        ([N] * 9 + [M] * 9, list(range(18)), "no labelled complaint is critical"),
        ([N] * 9 + [M] * 9 + [C] * 4, list(range(22)), "4 labelled complaints are critical"),
        (rows(30), [index % 4 for index in range(30)], "4 distinct complaints"),
        ([N] * 9 + [M] * 9 + [C] * 9, [*range(18), *[18] * 9], "without one of the severities"),
    ],
)
def test_rows_that_cannot_be_dealt_out_are_refused(
    labels: list[Severity], groups: list[int], what: str
) -> None:
    with pytest.raises(DataError, match=what):
        grouped_folds(labels, groups, folds=5, seed=0)


def test_near_duplicates_share_a_group() -> None:
    base = "عندي صداع شديد منذ يومين مع غثيان و دوخة ولا ينفع معه المسكن أرجو الرد يا دكتور"
    keys = [comparison_key(text) for text in (base, base + " شكرا", "طفلي يعاني من سعال جاف", base)]
    groups = near_duplicate_groups(keys, 0.7)
    assert groups[0] == groups[1] == groups[3] != groups[2]
    assert near_duplicate_groups([], 0.7) == []


def test_the_similarity_decides_what_is_near() -> None:
    base = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    keys = [base, f"zero {base[4:40]} other {base[47:]}"]
    assert len(set(near_duplicate_groups(keys, 0.4))) == 1
    assert len(set(near_duplicate_groups(keys, 0.95))) == 2
