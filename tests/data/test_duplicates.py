from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarjih.data.duplicates import (
    PLACES,
    PREFIX_LENGTH,
    SHINGLE_LENGTH,
    Fingerprints,
    bands_for,
    find_groups,
    signatures_of,
)


def shingles(text: str) -> set[str]:
    return {text[i : i + SHINGLE_LENGTH] for i in range(max(1, len(text) - SHINGLE_LENGTH + 1))}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def made_up(seed: int, words: int) -> list[str]:
    source = random.Random(seed)
    return ["".join(source.choices("abcdefghijklm", k=source.randint(2, 7))) for _ in range(words)]


def groups_of(keys: list[str], threshold: float = 0.5) -> list[set[int]]:
    roots = find_groups(Fingerprints.of(keys), threshold).tolist()
    return [
        {i for i, root in enumerate(roots) if root == wanted} for wanted in dict.fromkeys(roots)
    ]


@settings(deadline=None)
@given(st.lists(st.text("abc\u0628\U0001f600", max_size=30), min_size=1, max_size=8))
def test_a_signature_depends_on_its_own_text_only(texts: list[str]) -> None:
    together = signatures_of(texts)

    assert together.shape == (len(texts), PLACES)
    for text, signature in zip(texts, together, strict=True):
        assert (signatures_of([text])[0] == signature).all()


def test_equal_places_estimate_the_jaccard_similarity() -> None:
    # The oracle is the definition, |A and B| / |A or B|; the standard error is sqrt(J(1-J)/128).
    errors = []
    for seed in range(60):
        words = made_up(seed, 60)
        changed = [*words[: 60 - seed], *made_up(seed + 1000, seed)]
        one, other = "".join(words), "".join(changed)
        signatures = signatures_of([one, other])
        errors.append((signatures[0] == signatures[1]).mean() - jaccard(one, other))

    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.06


def test_long_texts_are_hashed_over_block_borders() -> None:
    texts = ["".join(made_up(seed, 9_000)) for seed in range(5)]

    together = signatures_of([*texts, "", texts[0]])

    assert (together[0] == together[6]).all()
    assert (together[0] == together[1]).mean() < 0.1


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9, 1.0])
def test_bands_find_pairs_at_the_threshold(threshold: float) -> None:
    bands, places = bands_for(threshold)

    assert bands * places <= PLACES
    assert 1 - (1 - threshold**places) ** bands >= 0.95


def test_changed_words_glued_words_and_equal_texts_are_one_group() -> None:
    words = made_up(1, 40)
    keys = [
        " ".join(words),
        " ".join([*words[:20], "other", *words[21:]]),
        "".join(words),
        " ".join(words),
        " ".join(made_up(2, 40)),
    ]

    assert groups_of(keys) == [{0, 1, 2, 3}, {4}]


def test_a_complaint_cut_off_at_its_source_joins_the_whole_one() -> None:
    words = made_up(3, 90)
    whole, cut = " ".join(words), " ".join(words)[:139]

    assert len(cut.replace(" ", "")) >= PREFIX_LENGTH
    assert jaccard(whole.replace(" ", ""), cut.replace(" ", "")) < 0.4
    assert groups_of([whole, cut]) == [{0, 1}]


def test_similarity_is_passed_on() -> None:
    words = made_up(4, 40)
    steps = [[*made_up(5, n), *words[n:]] for n in (0, 8, 16, 24)]

    assert jaccard("".join(steps[0]), "".join(steps[3])) < 0.4
    assert groups_of([" ".join(step) for step in steps]) == [{0, 1, 2, 3}]


def test_short_and_empty_complaints_join_only_their_equals() -> None:
    keys = ["", "pain", "pains", "pain", "a", "", "b"]

    assert groups_of(keys) == [{0, 5}, {1, 3}, {2}, {4}, {6}]


def test_groups_are_the_same_in_another_order() -> None:
    keys = [" ".join([*made_up(n // 3, 30), str(n)]) for n in range(60)]
    order = random.Random(1).sample(range(60), 60)

    forward = {frozenset(group) for group in groups_of(keys)}
    shuffled = groups_of([keys[index] for index in order])

    assert {frozenset(order[index] for index in group) for group in shuffled} == forward
    assert sorted(map(len, forward)) == [3] * 20


def test_a_crowded_band_stays_quick_and_whole() -> None:
    # A thousand complaints that share nearly all their text, as from a form.
    form = made_up(6, 50)
    keys = [" ".join([*made_up(100 + n, 2), *form]) for n in range(1_000)]

    assert len(groups_of(keys)) == 1


def test_a_higher_threshold_joins_less() -> None:
    words = made_up(7, 40)
    keys = [" ".join(words), " ".join([*made_up(8, 10), *words[10:]])]

    assert 0.5 < jaccard("".join(words), keys[1].replace(" ", "")) < 0.8
    assert len(groups_of(keys, 0.5)) == 1
    assert len(groups_of(keys, 0.9)) == 2


def test_parts_are_joined_in_order() -> None:
    keys = [" ".join(made_up(n, 20)) for n in range(7)]
    parts = [Fingerprints.of(keys[:3]), Fingerprints.of(keys[3:4]), Fingerprints.of(keys[4:])]

    joined, whole = Fingerprints.joined(parts), Fingerprints.of(keys)

    assert (joined.whole == whole.whole).all()
    assert (joined.prefix == whole.prefix).all()
    assert (joined.signatures == whole.signatures).all()
    assert parts == []
