"""ROUGE-L F1 (Lin, 2004) over Arabic words.

The `rouge_score` package keeps only [a-z0-9] of a text, so that every Arabic answer scores 0. Here
the words are those of `tarjih.arabic.normalise.words`; given the same words, both agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tarjih.arabic.normalise import WORDS_VERSION


def lcs_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, in words.

    Bit-parallel (Hyyrö, 2004): bit i of `row` is 0 where the length grows at the i-th word of
    `one`, so that a whole row of the usual table is one addition of big integers.
    """
    places: dict[str, int] = {}
    for index, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << index
    every = (1 << len(one)) - 1
    row = every
    for word in other:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & every
    return len(one) - row.bit_count()


def rouge_l_statistic(answer: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of one pair of word sequences, from 0 to 1; 0 when either is empty."""
    shared = lcs_length(answer, reference)
    # With P = shared / answer and R = shared / reference, 2PR / (P + R) is this:
    return 2 * shared / (len(answer) + len(reference)) if shared else 0.0


def rouge_l(statistics: Sequence[float]) -> float:
    """Mean F1 × 100 over all pairs."""
    return 100.0 * math.fsum(statistics) / len(statistics)


def rouge_signature() -> str:
    """What a ROUGE-L score depends on."""
    return f"rougeL|f:1|words:v{WORDS_VERSION}|mean:examples"
