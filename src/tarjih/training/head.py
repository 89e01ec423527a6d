"""The weighted loss inside the model's forward pass.

For the length of one call the output head, given the hidden states (B, T, D), returns the loss
instead of logits (B, T, V). Only supervised positions go through it, no logits are kept, and the
model is still called once, from outside, as every wrapper (PEFT, DDP, FSDP, checkpointing) needs:
under FSDP the head's weights exist only during that call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tarjih.loss import token_losses
from tarjih.models.logits import base_model_of, logit_change, output_head, unchanged_logits
from tarjih.models.packing import ROW_LENGTHS
from tarjih.training.collate import FOR_THE_LOSS, IGNORED


@dataclass
class SupervisedLosses:
    """What a call of `weighted_forward` gives.

    `total` is sum w * loss over the batch's supervised tokens and `plain` the sum without weights,
    both differentiable; `token_losses` (N,) are unweighted, in nats, without gradient; `rows` (N,)
    says which row each token is of.
    """

    total: Tensor
    plain: Tensor
    token_losses: Tensor
    rows: Tensor


def weighted_forward(model: Any, batch: dict[str, Any]) -> SupervisedLosses:
    """Run the model on a batch and compute its weighted loss in place of its logits.

    Args:
        model: the causal language model, wrapped or not.
        batch: what the model reads (input_ids, attention_mask, ...), each (B, T); labels (B, T),
            -100 where a token is not supervised; weights, (B,) for examples or (B, T) for tokens.
            Or what `pack` makes of it.

    Returns:
        The losses; the sum of no supervised tokens is a differentiable zero.

    Raises:
        ModelError: when the output head is not a plain linear layer.
    """
    labels = batch["labels"][:, 1:]
    supervised = labels != IGNORED
    rows = _rows_of(supervised, batch.get(ROW_LENGTHS))
    targets = labels[supervised]
    weights = batch["weights"]
    weights = weights[:, 1:][supervised] if weights.ndim > 1 else weights[rows]
    base = base_model_of(model)
    head, change = output_head(base), logit_change(base)

    def sums(hidden: Tensor) -> Tensor:
        # Position t predicts the token at t + 1, so the last position predicts nothing.
        selected = hidden[:, :-1][supervised].to(_arithmetic_of(head))
        with torch.autocast(hidden.device.type, enabled=False):
            losses = token_losses(
                selected, head.weight, targets, bias=head.bias, logit_change=change
            )
            found.append(losses.detach())
            return torch.stack([(weights.to(losses.dtype) * losses).sum(), losses.sum()])

    found: list[Tensor] = []
    with unchanged_logits(base), _returns(head, lambda hidden: sums(hidden).reshape(1, 1, 2)):
        inputs = {key: value for key, value in batch.items() if key not in FOR_THE_LOSS}
        output: Any = model(**inputs, use_cache=False)
    total, plain = output.logits.reshape(2).unbind()
    return SupervisedLosses(total, plain, found[-1], rows)


def _rows_of(supervised: Tensor, row_lengths: list[int] | None) -> Tensor:
    """The row of each supervised token, (N,); `supervised` begins at the second position."""
    if row_lengths is None:
        return supervised.nonzero()[:, 0]
    lengths = torch.tensor(row_lengths, device=supervised.device)
    return torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)[1:][
        supervised[0]
    ]


def _arithmetic_of(head: nn.Linear) -> torch.dtype:
    device = head.weight.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return head.weight.dtype


@contextmanager
def _returns(head: nn.Linear, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    # An attribute of the instance hides the method of the class; deleting it restores that.
    head.forward = forward  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        del head.forward
