r"""The severity-weighted cross-entropy.

For N supervised tokens with hidden states h_i, targets y_i and weights w_i, and a head (W, b):

    loss = sum_i  w_i * ( -log softmax(h_i . W^T + b)[y_i] )

which is the sum over the response tokens in equation (5) of arXiv 2604.06346, before it is divided
by the number of tokens: the caller divides, because only the caller knows the *global* number of
supervised tokens over micro-batches and ranks.

`naive_severity_weighted_cross_entropy` is that equation written down. It holds N x V logits.
`severity_weighted_cross_entropy` gives the same value and gradients and holds a tile of rows only.
Because the weights are known in the forward pass, the gradient of the hidden states is formed
there, tile by tile: with a frozen head that costs two matrix products of N x D x V, where a loss
that recomputes its logits in the backward pass needs three.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# One tile of float32 logits: large enough that reading the head once more per tile costs little
# (docs/lab-notes.md has the times for 8 to 256 MiB).
TILE_BYTES = 128 * 1024 * 1024
_FEWEST_ROWS = 16


def naive_severity_weighted_cross_entropy(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    bias: Tensor | None = None,
) -> Tensor:
    """The equation itself; the reference that the other function is tested against.

    Args and result are those of `severity_weighted_cross_entropy`.
    """
    logits = torch.nn.functional.linear(hidden, head_weight, bias).to(_at_least_float32(hidden))
    log_probabilities = torch.log_softmax(logits, dim=-1)
    token_losses = -log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)
    return (weights.to(token_losses.dtype) * token_losses).sum()


def severity_weighted_cross_entropy(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    bias: Tensor | None = None,
    tile_bytes: int = TILE_BYTES,
) -> Tensor:
    """Sum of w_i * (-log softmax(hidden_i . head_weight^T + bias)[target_i]) over N tokens.

    Args:
        hidden: (N, D), the hidden state that predicts each supervised token.
        head_weight: (V, D), the output embedding; trainable or frozen.
        targets: (N,), int64, in [0, V).
        weights: (N,), finite; a token's weight. Negative weights are not refused.
        bias: (V,) or None.
        tile_bytes: memory for one tile of logits, in bytes; at least one row is always taken.

    Returns:
        A scalar in float32 (float64 for float64 input): a sum, not a mean. For N = 0 it is a
        differentiable zero. Gradients reach hidden, head_weight, bias and weights.

    Raises:
        ValueError: when the shapes do not fit, the targets are not int64, or one lies outside
            [0, V).
    """
    loss, _ = weighted_and_token_losses(
        hidden, head_weight, targets, weights, bias=bias, tile_bytes=tile_bytes
    )
    return loss


def weighted_and_token_losses(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    bias: Tensor | None = None,
    tile_bytes: int = TILE_BYTES,
) -> tuple[Tensor, Tensor]:
    """The weighted sum, and beside it the token losses it is made of.

    Args are those of `severity_weighted_cross_entropy`.

    Returns:
        The scalar that `severity_weighted_cross_entropy` returns, and (N,) unweighted losses in
        nats, without gradient: what curves and held-out scores are made of.
    """
    _check(hidden, head_weight, targets, weights, bias)
    if not torch.is_grad_enabled():  # a trainable head would cost a gradient that nobody wants
        hidden, head_weight, weights = hidden.detach(), head_weight.detach(), weights.detach()
        bias = None if bias is None else bias.detach()
    loss, losses = _TiledLoss.apply(  # type: ignore[no-untyped-call]
        hidden, head_weight, targets, weights, bias, tile_bytes
    )
    return loss, losses


class _TiledLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head_weight: Tensor,
        targets: Tensor,
        weights: Tensor,
        bias: Tensor | None,
        tile_bytes: int,
    ) -> tuple[Tensor, Tensor]:
        wants_hidden, wants_head, _, wants_weights, wants_bias, _ = ctx.needs_input_grad
        accumulate = _at_least_float32(hidden)
        losses = torch.empty(len(hidden), dtype=accumulate, device=hidden.device)
        weights_ = weights.detach().to(accumulate)
        hidden_gradient = torch.empty_like(hidden) if wants_hidden else None
        head_gradient = _zeros(head_weight, accumulate) if wants_head else None
        bias_gradient = _zeros(bias, accumulate) if bias is not None and wants_bias else None
        for rows in _tiles(len(hidden), len(head_weight), tile_bytes):
            logits = _tile_logits(hidden[rows], head_weight, bias)
            # One pass of exp over the tile, in place, serves the loss and the gradient.
            logits.sub_(logits.amax(dim=-1, keepdim=True))
            at_targets = logits.gather(1, targets[rows].unsqueeze(1)).squeeze(1)
            sums = logits.exp_().sum(dim=-1)
            losses[rows] = sums.log() - at_targets
            if hidden_gradient is None and head_gradient is None and bias_gradient is None:
                continue
            # d loss_i / d logits_i = w_i * (softmax(logits_i) - onehot(target_i)).
            slope = logits.mul_((weights_[rows] / sums).unsqueeze(1))
            index = torch.arange(len(slope), device=slope.device)
            slope[index, targets[rows]] -= weights_[rows]
            if bias_gradient is not None:
                bias_gradient += slope.sum(0)
            slope = slope.to(hidden.dtype)
            if hidden_gradient is not None:
                torch.mm(slope, head_weight.to(hidden.dtype), out=hidden_gradient[rows])
            if head_gradient is not None:
                head_gradient += torch.mm(slope.T, hidden[rows])
        ctx.save_for_backward(hidden_gradient, head_gradient, bias_gradient, losses)
        ctx.dtypes = (head_weight.dtype, bias.dtype if bias is not None else None, weights.dtype)
        ctx.wants_weights = wants_weights
        ctx.mark_non_differentiable(losses)
        return torch.dot(weights_, losses), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, head_gradient, bias_gradient, losses = ctx.saved_tensors
        head_dtype, bias_dtype, weights_dtype = ctx.dtypes
        outer, _ = gradients
        return (
            _scaled(hidden_gradient, outer, None),
            _scaled(head_gradient, outer, head_dtype),
            None,
            _scaled(losses, outer, weights_dtype) if ctx.wants_weights else None,
            _scaled(bias_gradient, outer, bias_dtype),
            None,
        )


def _scaled(gradient: Tensor | None, outer: Tensor, dtype: torch.dtype | None) -> Tensor | None:
    if gradient is None:
        return None
    return (gradient * outer).to(dtype or gradient.dtype)


def _zeros(like: Tensor, dtype: torch.dtype) -> Tensor:
    # Tiles are summed in float32 even for a bfloat16 head, or late tiles would be rounded away.
    return torch.zeros(like.shape, dtype=dtype, device=like.device)


def _at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _tiles(rows: int, vocabulary: int, tile_bytes: int) -> list[slice]:
    # At most a quarter of the rows: also where N x V would fit the budget, it is never held.
    height = max(1, min(tile_bytes // (4 * vocabulary), max(_FEWEST_ROWS, -(-rows // 4))))
    return [slice(start, min(start + height, rows)) for start in range(0, rows, height)]


def _tile_logits(hidden: Tensor, head_weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = torch.mm(hidden, head_weight.to(hidden.dtype).T).to(_at_least_float32(hidden))
    return logits if bias is None else logits.add_(bias)


def _check(
    hidden: Tensor, head_weight: Tensor, targets: Tensor, weights: Tensor, bias: Tensor | None
) -> None:
    count, width = hidden.shape if hidden.ndim == 2 else (-1, -1)
    if count < 0:
        raise ValueError(f"hidden must be (N, D), not {tuple(hidden.shape)}")
    if head_weight.ndim != 2 or head_weight.shape[1] != width:
        raise ValueError(f"head_weight must be (V, {width}), not {tuple(head_weight.shape)}")
    if targets.shape != (count,) or weights.shape != (count,):
        raise ValueError(
            f"targets and weights must both be ({count},), one for each row of hidden, not "
            f"{tuple(targets.shape)} and {tuple(weights.shape)}"
        )
    if bias is not None and bias.shape != head_weight.shape[:1]:
        raise ValueError(f"bias must be ({len(head_weight)},), not {tuple(bias.shape)}")
    if targets.dtype != torch.int64:
        raise ValueError(f"targets must be int64, not {targets.dtype}")
    if count and not (int(targets.min()) >= 0 and int(targets.max()) < len(head_weight)):
        raise ValueError(
            f"targets must lie in [0, {len(head_weight)}); pass only supervised tokens, "
            "without the -100 of masked ones"
        )
