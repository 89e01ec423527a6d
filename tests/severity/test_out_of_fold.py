from __future__ import annotations

import hashlib
import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tarjih.data.duplicates as duplicates_module
from tarjih.data.duplicates import PLACES, Fingerprints
from tarjih.severity.calibration import Floats
from tarjih.severity.out_of_fold import OutOfFold, fingerprint_digest, hash_keys


def distinct_rows(count: int) -> Floats:
    """Probabilities of which no two rows are equal."""
    first = np.linspace(0.1, 0.3, count)
    return np.stack([first, 2 * first, 1 - 3 * first], axis=1)


def words(seed: int, count: int = 40) -> list[str]:
    source = random.Random(seed)
    return ["".join(source.choices("abcdefghijklm", k=5)) for _ in range(count)]


def test_the_hash_is_the_first_eight_bytes_of_blake2b() -> None:
    text = "\u0635\u062f\u0627\u0639"  # sudaa: headache
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    assert hash_keys([text]).tolist() == [int(digest, 16)]
    assert hash_keys(["\ud800"]).shape == (1,)  # half a surrogate pair is no reason to fail


def test_probabilities_of_a_repeated_key_are_averaged() -> None:
    store = OutOfFold.of(
        ["b", "a", "b"], np.asarray([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.5, 0.5, 0.0]]), 0.7
    )
    known, found = store.find(["b", "c", "a", "b"])
    assert known.tolist() == [True, False, True, True]
    assert found.tolist() == [[0.75, 0.25, 0.0], [0.2, 0.3, 0.5], [0.75, 0.25, 0.0]]


@given(st.lists(st.text("ab ", max_size=5), max_size=30), st.lists(st.text("ab ", max_size=5)))
def test_of_short_keys_exactly_the_stored_ones_are_found(
    stored: list[str], asked: list[str]
) -> None:
    values = dict(zip(stored, distinct_rows(len(stored))[:, 0], strict=True))
    rows = np.asarray([[values[key], 1 - values[key], 0] for key in stored]).reshape(-1, 3)
    known, found = OutOfFold.of(stored, rows, 0.7).find(asked)
    glued = {key.replace(" ", "") for key in stored}  # what is written apart elsewhere is the same
    assert known.tolist() == [key.replace(" ", "") in glued for key in asked]
    for key, row in zip(np.asarray(asked, dtype=object)[known], found, strict=True):
        if key in values:
            assert row[0] == pytest.approx(values[key])


def test_a_near_duplicate_gets_the_probabilities_of_the_most_similar_complaint() -> None:
    base = words(1)
    near, far = [*base[:-1], "zzzzz"], [*base[:-4], *words(2, 4)]
    keys = [" ".join(far), " ".join(words(3)), " ".join(near)]
    probabilities = distinct_rows(3)
    store = OutOfFold.of(keys, probabilities, 0.7)
    known, found = store.find([" ".join(words(4)), " ".join(base), keys[0]])
    assert known.tolist() == [False, True, True]
    assert found.tolist() == [probabilities[2].tolist(), probabilities[0].tolist()]


def test_what_counts_as_near_is_the_given_similarity() -> None:
    base = words(5)
    other = [*base[:20], "zzzzz", *base[21:]]
    apart = ["zzzzz", *base[1:20], "yyyyy", *base[21:]]  # not even its beginning is equal
    for similarity, expected in ((0.5, [True, True]), (1.0, [True, False])):
        store = OutOfFold.of([" ".join(base)], distinct_rows(1), similarity)
        assert store.find([" ".join(other), " ".join(apart)])[0].tolist() == expected


def test_an_empty_store_knows_nothing() -> None:
    known, found = OutOfFold.of([], np.zeros((0, 3)), 0.7).find(["", "a"])
    assert known.tolist() == [False, False]
    assert found.shape == (0, 3)


def test_it_comes_back_from_its_tensors() -> None:
    keys = [" ".join(words(seed)) for seed in range(5)]
    store = OutOfFold.of(keys, distinct_rows(5), 0.7)
    tensors = {**store.tensors(), "temperature": np.ones((1, 3))}
    again = OutOfFold.from_tensors(tensors, 0.7)
    asked = [*keys, f"{keys[0]} thanks"]
    assert again.find(asked)[0].all()
    assert again.find(asked)[1].tolist() == store.find(asked)[1].tolist()
    del tensors["held_out_signatures"]
    with pytest.raises(KeyError):
        OutOfFold.from_tensors(tensors, 0.7)


@pytest.mark.parametrize("name", ["probabilities", "whole", "prefix", "signatures"])
@pytest.mark.parametrize("fault", ["shorter", "of another type"])
def test_tensors_that_do_not_belong_together_are_refused(name: str, fault: str) -> None:
    tensors = OutOfFold.of(["a", "b"], distinct_rows(2), 0.7).tensors()
    array = tensors[f"held_out_{name}"]
    tensors[f"held_out_{name}"] = array[:1] if fault == "shorter" else array.astype(np.float32)
    with pytest.raises(ValueError, match=f"held_out_{name} are .* of 2"):
        OutOfFold.from_tensors(tensors, 0.7)


def test_a_store_must_be_in_order() -> None:
    prints = Fingerprints.of(["a", "b"])
    with pytest.raises(ValueError, match="sorted"):
        OutOfFold(np.asarray([2, 1], dtype=np.uint64), distinct_rows(2), prints, 0.7)


def test_nothing_of_the_text_is_kept() -> None:
    key = "fever and cough for two days"
    tensors = OutOfFold.of([key], distinct_rows(1), 0.7).tensors()
    kept = b"".join(array.tobytes() for array in tensors.values())
    assert len(kept) == 8 + 24 + 8 + 8 + 2 * PLACES
    assert not any(word.encode() in kept for word in key.split())


def test_the_digest_tells_fingerprints_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint_digest()
    assert json.dumps(before) == json.dumps(fingerprint_digest())
    for name, value in (("SHINGLE_LENGTH", 5), ("PREFIX_LENGTH", 40)):
        with monkeypatch.context() as patch:
            patch.setattr(duplicates_module, name, value)
            assert fingerprint_digest() != before
