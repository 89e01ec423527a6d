from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.evaluation.repetition import (
    duplicate_share,
    is_empty,
    is_repetitive,
    longest_run,
    repetition_signature,
)


def repetitive(text: str) -> bool:
    return is_repetitive(text, text.split())


@pytest.mark.parametrize(
    "text",
    [
        "drink water and rest " * 3,
        "rest\nrest\nrest\nrest",
        "one line\n" * 6,
        "it is nothing " + "ha" * 12,
        "\u0627" * 30,
    ],
)
def test_loops_are_found(text: str) -> None:
    assert repetitive(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rest",
        "no no no, do not worry",
        "take one tablet in the morning and one tablet in the evening",
        "take one tablet in the morning for a week, then take one tablet in the evening for a week",
        "Advice\n" + "-" * 60 + "\nrest",
        "\u0627\u0646\u0634\u0627\u0621 \u0627\u0644\u0644\u0647 \u062e\u064a\u0631",
    ],
)
def test_ordinary_answers_are_left_alone(text: str) -> None:
    assert not repetitive(text)


def test_share_by_hand() -> None:
    words = list("abcdabcd")
    # abcd bcda cdab dabc abcd: one of five is there twice.
    assert duplicate_share(words) == pytest.approx(0.2)
    assert is_repetitive(" ".join(words), words)
    assert duplicate_share(["a", "b", "c"]) == 0.0
    assert duplicate_share(["a"] * 5) == pytest.approx(0.5)


@given(st.lists(st.integers(0, 10**6).map(str), unique=True, max_size=40))
def test_distinct_words_never_repeat(words: list[str]) -> None:
    assert duplicate_share(words) == 0.0
    assert longest_run(words) == min(1, len(words))


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_run_against_a_plain_loop(words: list[str]) -> None:
    best = current = 0
    for index, word in enumerate(words):
        current = current + 1 if index and words[index - 1] == word else 1
        best = max(best, current)
    assert longest_run(words) == best


def test_empty_means_no_word() -> None:
    assert is_empty(())
    assert not is_empty(("a",))


def test_signature_states_the_limits() -> None:
    assert repetition_signature().startswith(
        "repetitive|order:4|share:0.2|word_run:4|piece_run:10|words:"
    )
