from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer, tokenizers

from tarjih.arabic.normalise import words
from tarjih.evaluation.rouge import lcs_length, rouge_l, rouge_l_statistic, rouge_signature

WORDS = st.lists(st.sampled_from("abcd"), max_size=12)


class _OurWords(tokenizers.Tokenizer):  # type: ignore[misc]  # rouge_score has no types
    def tokenize(self, text: str) -> list[str]:
        return list(words(text))


@given(WORDS, WORDS)
def test_length_of_the_longest_common_subsequence(one: list[str], other: list[str]) -> None:
    @cache
    def naive(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return 0
        if one[i] == other[j]:
            return 1 + naive(i + 1, j + 1)
        return max(naive(i + 1, j), naive(i, j + 1))

    assert lcs_length(one, other) == naive(0, 0)


@given(
    st.text("\u0627\u0628\u062a ab.\u0640", max_size=60),
    st.text("\u0627\u0628\u062a ab.", max_size=60),
)
def test_agrees_with_rouge_score_given_our_words(answer: str, reference: str) -> None:
    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=_OurWords())
    expected = scorer.score(reference, answer)["rougeL"].fmeasure
    assert rouge_l_statistic(words(answer), words(reference)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("a b c", "a b c", 1.0),
        ("a c", "a b c d", 2 * 1.0 * 0.5 / 1.5),
        ("c b a", "a b c", 1 / 3),
        ("", "a", 0.0),
        ("a", "", 0.0),
        ("", "", 0.0),
    ],
)
def test_by_hand(answer: str, reference: str, expected: float) -> None:
    assert rouge_l_statistic(answer.split(), reference.split()) == pytest.approx(expected)


def test_arabic_does_not_score_zero() -> None:
    # The fault of the stock package: it keeps only [a-z0-9].
    text = "\u0627\u0634\u0631\u0628 \u0627\u0644\u0645\u0627\u0621"  # drink water
    assert rouge_scorer.RougeScorer(["rougeL"]).score(text, text)["rougeL"].fmeasure == 0.0
    assert rouge_l_statistic(words(text), words(text)) == 1.0


def test_score_is_the_mean_times_100() -> None:
    statistics: Sequence[float] = [1.0, 0.0, 0.25, 0.25]
    assert rouge_l(statistics) == 37.5


def test_signature() -> None:
    assert rouge_signature().startswith("rougeL|f:1|words:")
