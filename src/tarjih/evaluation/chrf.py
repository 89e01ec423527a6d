"""chrF++ (Popović, 2017) through sacrebleu: character 1- to 6-grams and word 1- and 2-grams.

Nothing is lower-cased or normalised: chrF sees the texts as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sacrebleu.metrics.chrf import CHRF

ChrfStatistic = tuple[int, ...]
"""(n-grams of the answer, of the reference, shared) for each of the eight orders: 24 counts."""


def chrf_statistic(answer: str, reference: str) -> ChrfStatistic:
    """Count the n-grams of one pair. Either text may be empty."""
    return tuple(_metric()._extract_corpus_statistics([answer], [[reference]])[0])


def chrf(statistics: Sequence[ChrfStatistic]) -> float:
    """The corpus score, from 0 to 100: the counts are summed first and divided once.

    sacrebleu leaves an order out of one pair's counts when its reference has no such n-gram.
    """
    total = [sum(column) for column in zip(*statistics, strict=True)]
    return float(_metric()._compute_score_from_stats(total).score)


def chrf_signature() -> str:
    """Signature of sacrebleu itself, with the name of the metric in front."""
    metric = CHRF(word_order=2)
    metric.num_refs = 1  # sacrebleu knows it only after it has scored; here it is always one
    return f"chrF2++|{metric.get_signature()}"


@cache
def _metric() -> CHRF:
    return CHRF(word_order=2)
