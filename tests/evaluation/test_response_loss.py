from __future__ import annotations

import math

import pytest

from tarjih.evaluation.response_loss import (
    LossStatistic,
    perplexity,
    response_loss,
    response_loss_signature,
)


def test_every_token_counts_the_same() -> None:
    # Means of 1 and 3 nats over 1 and 9 tokens: 28 / 10, where a mean of means would say 2.
    found = response_loss([LossStatistic(1.0, 1), LossStatistic(27.0, 9)])
    assert found == pytest.approx(2.8)


def test_examples_without_a_response_do_not_count() -> None:
    assert response_loss([None, LossStatistic(4.0, 2), None]) == 2.0
    assert response_loss([None]) is None
    assert response_loss([]) is None


def test_perplexity_is_the_exponential() -> None:
    assert perplexity(math.log(8)) == pytest.approx(8.0)
    assert perplexity(0.0) == 1.0
    assert perplexity(None) is None
    assert perplexity(1e6) is None  # no number holds it, and JSON has no infinity


def test_signature_states_the_unit() -> None:
    assert "unit:nats" in response_loss_signature()
