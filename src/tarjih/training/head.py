"""The weighted loss inside the model's forward pass.

For the length of one call the output head, given the hidden states (B, T, D), returns the loss
instead of logits (B, T, V). Only supervised positions go through it, no logits are kept, and the
model is still called once, from outside, as every wrapper (PEFT, DDP, FSDP, checkpointing) needs:
under FSDP the head's weights exist only during that call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tarjih.loss import weighted_and_token_losses
from tarjih.training.batches import IGNORED


@dataclass
class SupervisedLosses:
    """What a call of `weighted_forward` gives.

    `total` is sum w * loss over the batch's supervised tokens, differentiable; `token_losses` (N,)
    are unweighted, in nats, without gradient; `rows` (N,) says which row each token is of.
    """

    total: Tensor
    token_losses: Tensor
    rows: Tensor


@dataclass
class _Exchange:
    """What the head leaves behind for the caller."""

    token_losses: list[Tensor] = field(default_factory=list)


def weighted_forward(model: Any, head: nn.Linear, batch: dict[str, Tensor]) -> SupervisedLosses:
    """Run the model on a batch and compute its weighted loss in place of its logits.

    Args:
        model: the causal language model, wrapped or not.
        head: its output head (see `tarjih.models.load.output_head`).
        batch: input_ids, attention_mask, labels (B, T) and weights (B,), as the collator makes.

    Returns:
        The losses; the sum of no supervised tokens is a differentiable zero.
    """
    labels = batch["labels"][:, 1:]
    supervised = labels != IGNORED
    rows = supervised.nonzero()[:, 0]
    targets = labels[supervised]
    weights = batch["weights"][rows]
    exchange = _Exchange()
    with _head_returns_loss(head, supervised, targets, weights, exchange):
        output: Any = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            use_cache=False,
        )
    return SupervisedLosses(output.logits.sum(), exchange.token_losses[-1], rows)


@contextmanager
def _head_returns_loss(
    head: nn.Linear, supervised: Tensor, targets: Tensor, weights: Tensor, exchange: _Exchange
) -> Iterator[None]:
    def forward(hidden: Tensor) -> Tensor:
        # Position t predicts the token at t + 1, so the last position predicts nothing.
        selected = hidden[:, :-1][supervised]
        with torch.autocast(hidden.device.type, enabled=False):
            total, losses = weighted_and_token_losses(
                selected.to(head.weight.dtype), head.weight, targets, weights, bias=head.bias
            )
        exchange.token_losses.append(losses)
        return total.reshape(1, 1, 1)

    # An attribute of the instance hides the method of the class; deleting it restores that.
    head.forward = forward  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        del head.forward
