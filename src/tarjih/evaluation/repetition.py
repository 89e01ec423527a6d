"""Answers that say nothing, and answers that say the same thing over and over.

Repetitive is an answer for which any of these holds:

1. at least `DUPLICATE_SHARE` of its word 4-grams occurred before in it: 1 − distinct / all, the
   "seq-rep-4" of Welleck et al., 2020 (arXiv 1908.04319);
2. the same word stands `SAME_WORD_RUN` times or more in a row (which also covers answers that are
   too short for 4-grams);
3. a piece of 1 to 8 letters stands `SAME_PIECE_RUN` times or more in a row inside a word.

The limits were set on doctors: of 4,734 responses of AHD, MAQA and MentalQA none reaches a share of
0.2 (one reaches 0.15), none has a word more than twice in a row, none has such a piece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from tarjih.arabic.normalise import WORDS_VERSION

ORDER = 4
"""Words in an n-gram."""
DUPLICATE_SHARE = 0.2
"""Share of repeated n-grams, in [0, 1], from which an answer is repetitive."""
SAME_WORD_RUN = 4
"""Times that one word stands in a row from which an answer is repetitive."""
SAME_PIECE_RUN = 10
"""Times that a piece of a word stands in a row from which an answer is repetitive."""

# Letters only: a line of dashes under a heading is no repetition.
_PIECE = re.compile(rf"([^\W\d_]{{1,8}}?)\1{{{SAME_PIECE_RUN - 1},}}")


def is_empty(words: Sequence[str]) -> bool:
    """Whether an answer says nothing: it has no word (white space and punctuation say nothing)."""
    return not words


def duplicate_share(words: Sequence[str], order: int = ORDER) -> float:
    """Share of the n-grams that repeat an earlier one, in [0, 1); 0 for fewer than two n-grams."""
    grams = [tuple(words[start : start + order]) for start in range(len(words) - order + 1)]
    return (len(grams) - len(set(grams))) / len(grams) if grams else 0.0


def longest_run(words: Sequence[str]) -> int:
    """How often the most repeated word stands in a row; 0 for no words."""
    return max((sum(1 for _ in run) for _, run in groupby(words)), default=0)


def is_repetitive(answer: str, words: Sequence[str]) -> bool:
    """Whether an answer repeats itself, as this module defines it.

    Args:
        answer: the text as generated.
        words: the words of that text.
    """
    return (
        duplicate_share(words) >= DUPLICATE_SHARE
        or longest_run(words) >= SAME_WORD_RUN
        or _PIECE.search(answer) is not None
    )


def repetition_signature() -> str:
    """The definition in short."""
    return (
        f"repetitive|order:{ORDER}|share:{DUPLICATE_SHARE}|word_run:{SAME_WORD_RUN}"
        f"|piece_run:{SAME_PIECE_RUN}|words:v{WORDS_VERSION}"
    )
