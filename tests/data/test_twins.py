from __future__ import annotations

import random

import numpy as np
import pytest

from tarjih.data.duplicates import PLACES, PREFIX_LENGTH, WIDEST, Fingerprints, find_groups
from tarjih.data.twins import NONE, TwinFinder


def made_up(seed: int, words: int = 30) -> list[str]:
    source = random.Random(seed)
    return ["".join(source.choices("abcdefghijklm", k=source.randint(2, 7))) for _ in range(words)]


def changed(text: str, seed: int, words: int) -> str:
    """The text with so many words replaced, none of them among the first."""
    source = random.Random(seed)
    kept = text.split()
    for place in source.sample(range(1, len(kept)), words):
        kept[place] = "".join(source.choices("nopqrstuvwxyz", k=5))
    return " ".join(kept)


def twins(known: list[str], asked: list[str], threshold: float = 0.7) -> list[int]:
    found = TwinFinder(Fingerprints.of(known), threshold).find(Fingerprints.of(asked))
    return [int(row) for row in found]


def naive(known: list[str], asked: list[str], threshold: float) -> list[tuple[int, float]]:
    """All pairs compared, without bands: the nearest and its similarity."""
    ours, theirs = Fingerprints.of(known), Fingerprints.of(asked)
    found = []
    for row in range(len(asked)):
        best, near = NONE, -1.0
        for place in range(len(known)):
            similarity = float((ours.signatures[place] == theirs.signatures[row]).mean())
            alike = ours.prefix[place] == theirs.prefix[row] != 0
            if similarity > near and (similarity >= threshold or alike):
                best, near = place, similarity
        found.append((best, near))
    return found


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_the_nearest_is_the_one_that_comparing_all_pairs_finds(threshold: float) -> None:
    known = [" ".join(made_up(seed)) for seed in range(40)]
    known += [changed(text, seed, 2) for seed, text in enumerate(known[:20])]
    asked = [changed(text, 100 + seed, seed % 8) for seed, text in enumerate(known[:20])]
    asked += [" ".join(made_up(seed)) for seed in range(500, 520)]
    expected = naive(known, asked, threshold)
    assert {place == NONE for place, _ in expected} == {True, False}
    missed = 0
    for found, (place, similarity) in zip(twins(known, asked, threshold), expected, strict=True):
        if found != place:  # bands may miss what is only just similar enough, and that alone
            assert found == NONE
            assert similarity < threshold + 0.05
            missed += 1
    assert missed <= 1


def test_it_finds_what_grouping_them_together_would_join() -> None:
    known = [" ".join(made_up(seed)) for seed in range(60)]
    asked = [changed(text, seed, 1 + seed % 6) for seed, text in enumerate(known)]
    groups = find_groups(Fingerprints.of([*known, *asked]), 0.7)
    joined = groups[:60] == groups[60:]
    found = np.asarray(twins(known, asked))
    assert 10 < joined.sum() < 60
    assert (found[joined] == np.flatnonzero(joined)).all()
    assert (found[~joined] == NONE).all()


def test_the_most_similar_of_several_is_found_and_of_equal_ones_the_first() -> None:
    text = " ".join(made_up(1))
    far, near = changed(text, 2, 2), changed(text, 3, 1)
    assert twins([far, near, near], [text]) == [1]
    assert twins([far, near, text, text], [text]) == [2]


def test_a_complaint_that_was_cut_off_is_a_twin_below_the_threshold() -> None:
    text = " ".join(made_up(4, 60))
    glued = text.replace(" ", "")
    assert twins([text], [glued[: PREFIX_LENGTH + 5]]) == [0]
    assert twins([text], [glued[: PREFIX_LENGTH - 1]]) == [NONE]


def test_one_that_is_more_similar_comes_before_one_that_begins_alike() -> None:
    beginning = "".join(made_up(5, 40))[:PREFIX_LENGTH]
    rest = [" ".join(made_up(seed, 40)) for seed in (6, 7)]
    asked = f"{beginning} {rest[0]}"
    assert twins([f"{beginning} {rest[1]}", f"z{asked[1:]}"], [asked]) == [1]


def test_blanks_make_no_other_complaint() -> None:
    assert twins(["ab cd"], ["abcd", "a bcd", "abce"]) == [0, 0, NONE]


def test_short_and_empty_complaints_are_twins_of_equal_ones_alone() -> None:
    assert twins(["", "ab", "abc"], ["abc", "", "ab", "abcd"]) == [2, 0, 1, NONE]
    assert twins([], ["abc", ""]) == [NONE, NONE]
    assert twins(["abc"], []) == []


def test_a_crowd_of_equal_complaints_still_has_a_first() -> None:
    text = " ".join(made_up(8))
    crowd = ["other words altogether", *[text] * (WIDEST + 50)]
    assert twins(crowd, [text]) == [1]


def test_a_signature_has_the_places_that_similarities_are_counted_in() -> None:
    prints = Fingerprints.of(["some complaint"])
    assert prints.signatures.shape == (1, PLACES)
