r"""The severity-weighted cross-entropy.

For N supervised tokens with hidden states h_i, targets y_i and weights w_i, and a head (W, b):

    loss = sum_i  w_i * ( -log softmax(h_i . W^T + b)[y_i] )

which is the sum over the response tokens in equation (5) of arXiv 2604.06346, before it is divided
by the number of tokens: the caller divides, because only the caller knows the *global* number of
supervised tokens over micro-batches and ranks.

`naive_severity_weighted_cross_entropy` is that equation written down. It holds N x V logits.
`severity_weighted_cross_entropy` gives the same value and gradients and holds a tile of them only.

The tiles run over the vocabulary. As in FlashAttention (arXiv 2205.14135), a running maximum m and
a running sum of exp(logit - m) per token make the softmax exact however it is cut, and the same
rescaling applies to a running sum of exp(logit - m) * W: divided by the sum at the end, that is the
gradient of the hidden state, but for the target's own row of W. So the forward pass forms value and
gradient together from logits that never leave the processor's cache, reads the head once, and with
a frozen head costs two matrix products of N x D x V in all. A loss that recomputes its logits in
the backward pass needs three. A trained head needs four: its gradient wants the finished softmax.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# A tile of logits that stays in a processor's cache, and one that keeps a GPU busy
# (benchmarks/loss_tiles.py prints the times of others).
TILE_BYTES = {"cpu": 16 * 1024 * 1024, "cuda": 256 * 1024 * 1024}
# So many tokens share a tile: more gain nothing, and would make the tile too narrow.
_TALLEST = 2048


@dataclass(frozen=True)
class LogitChange:
    """What some architectures do to their logits: logits = cap * tanh(scale * (h . W^T + b) / cap).

    Args:
        scale: a factor, as in Granite and Cohere; 1 changes nothing.
        cap: the largest magnitude, as in Gemma 2; None caps nothing.
    """

    scale: float = 1.0
    cap: float | None = None

    def apply(self, logits: Tensor) -> Tensor:
        """The changed logits; in place where no gradient is recorded."""
        if self.scale != 1.0:
            logits = logits * self.scale if logits.requires_grad else logits.mul_(self.scale)
        if self.cap is None:
            return logits
        if logits.requires_grad:
            return torch.tanh(logits / self.cap) * self.cap
        return logits.div_(self.cap).tanh_().mul_(self.cap)

    def slope(self, changed: Tensor) -> Tensor | float:
        """The derivative of the changed logits by the logits, from the changed ones."""
        if self.cap is None:
            return self.scale
        return (1 - (changed / self.cap) ** 2) * self.scale


UNCHANGED = LogitChange()


def naive_severity_weighted_cross_entropy(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    bias: Tensor | None = None,
    logit_change: LogitChange = UNCHANGED,
) -> Tensor:
    """The equation itself; the reference that the other function is tested against.

    Args and result are those of `severity_weighted_cross_entropy`.
    """
    logits = torch.nn.functional.linear(hidden, head_weight, bias).to(_at_least_float32(hidden))
    log_probabilities = torch.log_softmax(logit_change.apply(logits), dim=-1)
    losses = -log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)
    return (weights.to(losses.dtype) * losses).sum()


def severity_weighted_cross_entropy(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    bias: Tensor | None = None,
    logit_change: LogitChange = UNCHANGED,
    tile_bytes: int | None = None,
) -> Tensor:
    """Sum of w_i * (-log softmax(hidden_i . head_weight^T + bias)[target_i]) over N tokens.

    Args:
        hidden: (N, D), the hidden state that predicts each supervised token.
        head_weight: (V, D), the output embedding; trainable or frozen.
        targets: (N,), int64, in [0, V).
        weights: (N,), finite; a token's weight. Negative weights are not refused.
        bias: (V,) or None.
        logit_change: what the model does to its logits before the softmax.
        tile_bytes: memory for one tile of logits, in bytes, of which two or three are held at a
            time; None: what suits the device. At least one column is always taken.

    Returns:
        A scalar in float32 (float64 for float64 input): a sum, not a mean. For N = 0 it is a
        differentiable zero. Gradients reach hidden, head_weight, bias and weights.

    Raises:
        ValueError: when the shapes do not fit, the targets are not int64, or one lies outside
            [0, V).
    """
    if weights.shape != targets.shape:
        raise ValueError(
            f"weights must be {tuple(targets.shape)}, one for each target, not "
            f"{tuple(weights.shape)}"
        )
    losses = token_losses(
        hidden, head_weight, targets, bias=bias, logit_change=logit_change, tile_bytes=tile_bytes
    )
    return (weights.to(losses.dtype) * losses).sum()


def token_losses(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    logit_change: LogitChange = UNCHANGED,
    tile_bytes: int | None = None,
) -> Tensor:
    """The cross-entropy of each token, differentiable; for weights and sums of one's own.

    Args and errors are those of `severity_weighted_cross_entropy`.

    Returns:
        (N,) losses in nats, in float32 (float64 for float64 input).
    """
    _check(hidden, head_weight, targets, bias)
    if not torch.is_grad_enabled():  # gradients that nobody wants would be formed otherwise
        hidden, head_weight = hidden.detach(), head_weight.detach()
        bias = None if bias is None else bias.detach()
    losses: Tensor = _TiledLosses.apply(  # type: ignore[no-untyped-call]
        hidden, head_weight, bias, targets, logit_change, tile_bytes
    )
    return losses


class _TiledLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head_weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        change: LogitChange,
        tile_bytes: int | None,
    ) -> Tensor:
        wants_hidden, wants_head, wants_bias, *_ = ctx.needs_input_grad
        tiles = _Tiles(hidden, head_weight, bias, targets, change, tile_bytes)
        softmax = _Softmax.of_no_columns(len(hidden), tiles.dtype, hidden.device)
        gradient = hidden.new_zeros(hidden.shape, dtype=tiles.dtype) if wants_hidden else None
        for rows in tiles.rows:
            for columns in tiles.columns:
                _take_in(tiles, rows, columns, softmax, gradient)
        if gradient is not None:
            _finish_gradient(tiles, softmax, gradient)
        saved = (hidden, head_weight, bias, targets) if wants_head or wants_bias else (None,) * 4
        ctx.save_for_backward(gradient, *saved, *softmax.tensors)
        ctx.hidden_dtype, ctx.change, ctx.tile_bytes = hidden.dtype, change, tile_bytes
        return softmax.losses()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradient, hidden, head_weight, bias, targets, *softmax = ctx.saved_tensors
        wants_hidden, wants_head, wants_bias, *_ = ctx.needs_input_grad
        (slopes,) = outer
        hidden_gradient = head_gradient = bias_gradient = None
        if wants_hidden:
            hidden_gradient = (gradient * slopes.unsqueeze(1)).to(ctx.hidden_dtype)
        if wants_head or wants_bias:
            tiles = _Tiles(hidden, head_weight, bias, targets, ctx.change, ctx.tile_bytes)
            head_gradient, bias_gradient = _gradients_of_head(
                tiles, _Softmax(*softmax), slopes, wants_head=wants_head
            )
        return hidden_gradient, head_gradient, bias_gradient, None, None, None


@dataclass
class _Softmax:
    """What is known of each token's softmax, (N,) each.

    The target stands apart from the others: where it is nearly certain, 1 - p would lose all its
    digits, and with them the gradient.
    """

    largest: Tensor  # logit, so far
    others: Tensor  # sum of exp(logit - largest) over all columns so far but the target's
    at_target: Tensor  # logit

    @classmethod
    def of_no_columns(cls, count: int, dtype: torch.dtype, device: torch.device) -> _Softmax:
        # Finite, so that a column masked with minus infinity can come first.
        largest = torch.full((count,), torch.finfo(dtype).min, dtype=dtype, device=device)
        return cls(largest, torch.zeros_like(largest), torch.zeros_like(largest))

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.largest, self.others, self.at_target

    @property
    def total(self) -> Tensor:
        return self.others + (self.at_target - self.largest).exp()

    def losses(self) -> Tensor:
        """-log p of the target, to full precision where the target is nearly certain."""
        return torch.where(
            self.at_target == self.largest,
            self.others.log1p(),
            self.total.log() + (self.largest - self.at_target),
        )

    def target_slope(self) -> Tensor:
        """The derivative of the loss by the logit of the target: p - 1."""
        return -self.others / self.total


class _Tiles:
    """Logits by tiles of at most `_TALLEST` tokens and as many columns as the memory allows."""

    def __init__(
        self,
        hidden: Tensor,
        head_weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        change: LogitChange,
        tile_bytes: int | None,
    ) -> None:
        self.hidden, self.head_weight, self.bias, self.targets = hidden, head_weight, bias, targets
        self.change = change
        self.dtype = _at_least_float32(hidden)
        budget = TILE_BYTES.get(hidden.device.type, TILE_BYTES["cuda"])
        tokens, vocabulary = len(hidden), len(head_weight)
        height = max(1, min(tokens, _TALLEST))
        width = (budget if tile_bytes is None else tile_bytes) // (self.dtype.itemsize * height)
        self.rows = _cut(tokens, height)
        self.columns = _cut(vocabulary, max(1, width))

    def logits(self, rows: slice, columns: slice) -> Tensor:
        logits = torch.mm(self.hidden[rows], self.head(columns).T).to(self.dtype)
        if self.bias is not None:
            logits += self.bias[columns]
        return self.change.apply(logits)

    def head(self, columns: slice) -> Tensor:
        # Under mixed precision the head is longer than the hidden state; a tile of it is rounded.
        return self.head_weight[columns].to(self.hidden.dtype)

    def find_targets(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Which targets lie in the tile, and each one's column in it; (rows, 1) both."""
        place = self.targets[rows].unsqueeze(1) - columns.start
        width = columns.stop - columns.start
        return (place >= 0) & (place < width), place.clamp(0, width - 1)


def _cut(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _take_in(
    tiles: _Tiles, rows: slice, columns: slice, softmax: _Softmax, gradient: Tensor | None
) -> None:
    """Add a tile's columns to what is known of its tokens."""
    logits = tiles.logits(rows, columns)
    inside, place = tiles.find_targets(rows, columns)
    largest, others, at_target = (tensor[rows] for tensor in softmax.tensors)
    at_target.copy_(torch.where(inside, logits.gather(1, place), at_target.unsqueeze(1)).squeeze(1))
    now_largest = torch.maximum(largest, logits.amax(dim=-1))
    slope = tiles.change.slope(logits)
    shares = logits.sub_(now_largest.unsqueeze(1)).exp_()
    shares.scatter_(1, place, shares.gather(1, place).masked_fill(inside, 0))
    rescale = (largest - now_largest).exp_()
    others.mul_(rescale).add_(shares.sum(dim=-1))
    largest.copy_(now_largest)
    if gradient is not None:
        part = gradient[rows].mul_(rescale.unsqueeze(1))
        if not isinstance(slope, float) or slope != 1.0:
            shares.mul_(slope)
        _add_product(part, shares.to(tiles.hidden.dtype), tiles.head(columns))


def _finish_gradient(tiles: _Tiles, softmax: _Softmax, gradient: Tensor) -> None:
    """Turn the sum of exp(logit - largest) * W into the gradient of the hidden state."""
    gradient.div_(softmax.total.unsqueeze(1))
    slope = softmax.target_slope() * tiles.change.slope(softmax.at_target)
    for rows in tiles.rows:
        own = tiles.head_weight[tiles.targets[rows]].to(gradient.dtype)
        gradient[rows].addcmul_(slope[rows].unsqueeze(1), own)


def _gradients_of_head(
    tiles: _Tiles, softmax: _Softmax, outer: Tensor, *, wants_head: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of head and bias, from logits that are computed once more."""
    total, target_slope = softmax.total, softmax.target_slope()
    head = torch.empty_like(tiles.head_weight) if wants_head else None
    bias = None if tiles.bias is None else torch.empty_like(tiles.bias)
    for columns in tiles.columns:
        # Summed in at least float32 over the rows, or late rows of a bfloat16 head would be lost.
        size = (columns.stop - columns.start, tiles.hidden.shape[1])
        of_head = tiles.hidden.new_zeros(size, dtype=tiles.dtype)
        of_bias = tiles.hidden.new_zeros(size[:1], dtype=tiles.dtype)
        for rows in tiles.rows:
            logits = tiles.logits(rows, columns)
            change = tiles.change.slope(logits)
            logits.sub_(softmax.largest[rows].unsqueeze(1)).exp_().div_(total[rows].unsqueeze(1))
            inside, place = tiles.find_targets(rows, columns)
            own = torch.where(inside, target_slope[rows].unsqueeze(1), logits.gather(1, place))
            slope = logits.scatter_(1, place, own).mul_(change).mul_(outer[rows].unsqueeze(1))
            of_bias += slope.sum(dim=0)
            if wants_head:
                _add_product(of_head, slope.to(tiles.hidden.dtype).T, tiles.hidden[rows])
        if head is not None:
            head[columns] = of_head
        if bias is not None:
            bias[columns] = of_bias
    return head, bias


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(torch.mm(left, right))


def _at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _check(hidden: Tensor, head_weight: Tensor, targets: Tensor, bias: Tensor | None) -> None:
    count, width = hidden.shape if hidden.ndim == 2 else (-1, -1)
    if count < 0:
        raise ValueError(f"hidden must be (N, D), not {tuple(hidden.shape)}")
    if head_weight.ndim != 2 or head_weight.shape[1] != width:
        raise ValueError(f"head_weight must be (V, {width}), not {tuple(head_weight.shape)}")
    if targets.shape != (count,):
        raise ValueError(
            f"targets must be ({count},), one for each row of hidden, not {tuple(targets.shape)}"
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
