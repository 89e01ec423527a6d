"""Held-out loss of the doctors' responses, in nats per token, and its perplexity."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple


class LossStatistic(NamedTuple):
    """One response: summed negative log-likelihood in nats, over that many tokens."""

    loss: float
    tokens: int


def response_loss(statistics: Iterable[LossStatistic | None]) -> float | None:
    """Σ loss / Σ tokens: every token counts the same, however long its response is.

    The numerator and the denominator stay apart until the end; a mean of means would not be this.

    Returns:
        None when no example has a loss.
    """
    present = [one for one in statistics if one is not None]
    tokens = sum(one.tokens for one in present)
    return math.fsum(one.loss for one in present) / tokens if tokens else None


def perplexity(loss: float | None) -> float | None:
    """exp(loss), ≥ 1; None without a loss or when it is too large for a number."""
    if loss is None:
        return None
    try:
        return math.exp(loss)
    except OverflowError:
        return None


def response_loss_signature() -> str:
    """What is summed and what it is divided by."""
    return "response_loss|unit:nats|tokens:response+end|weights:none|sum/sum"
