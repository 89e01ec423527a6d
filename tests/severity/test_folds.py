from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.folds import OutOfFold, grouped_folds, hash_keys

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


def test_the_hash_is_the_first_eight_bytes_of_blake2b() -> None:
    text = "\u0635\u062f\u0627\u0639"  # sudaa: headache
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    assert hash_keys([text]).tolist() == [int(digest, 16)]
    assert hash_keys(["\ud800"]).shape == (1,)  # half a surrogate pair is no reason to fail


def test_probabilities_of_a_repeated_key_are_averaged() -> None:
    store = OutOfFold.of(
        ["b", "a", "b"], np.asarray([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.5, 0.5, 0.0]])
    )
    known, found = store.find(["b", "c", "a", "b"])
    assert known.tolist() == [True, False, True, True]
    assert found.tolist() == [[0.75, 0.25, 0.0], [0.2, 0.3, 0.5], [0.75, 0.25, 0.0]]


@given(st.lists(st.text(max_size=4), max_size=30), st.lists(st.text(max_size=4), max_size=30))
def test_exactly_the_stored_keys_are_found(stored: list[str], asked: list[str]) -> None:
    random = np.random.default_rng(0)
    values = dict.fromkeys(stored, 0.0)
    values = {key: float(random.random()) for key in values}
    probabilities = np.asarray([[values[k], 1 - values[k], 0] for k in stored]).reshape(-1, 3)
    known, found = OutOfFold.of(stored, probabilities).find(asked)
    assert known.tolist() == [key in values for key in asked]
    np.testing.assert_allclose(found[:, 0], [values[key] for key in asked if key in values])


def test_a_store_must_be_in_order() -> None:
    with pytest.raises(ValueError, match="sorted"):
        OutOfFold(np.asarray([2, 1], dtype=np.uint64), np.full((2, 3), 1 / 3))
    with pytest.raises(ValueError, match="probabilities"):
        OutOfFold(np.asarray([1], dtype=np.uint64), np.full((2, 3), 1 / 3))
