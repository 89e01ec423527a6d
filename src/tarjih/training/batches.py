"""Which examples share a forward pass, and which an optimizer step.

A step is cut into parts, one forward pass each: accumulation steps x ranks of them. Which examples
a step has depends on the seed, the lengths and the size of a step, but not on how it is cut: batch
8, 4 x 2, 1 x 8 and two ranks x 4 see the same steps, and so take the same path.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

Step = list[list[int]]
"""The parts of an optimizer step, each the indices of the examples of one forward pass."""

# What a forward and backward pass costs on a CPU whatever its length, in tokens' worth: measured
# with LoRA on Gemma 3 270M and little different from model to model, as both grow with the model.
_PRICE_OF_A_CPU_PASS = 100
# Enough for that price to be small, and few for the memory that their activations take.
_TOKENS_OF_A_PACKED_PASS = 1024

# Where examples of like length share steps, they are sorted within pools of this many steps: wide
# enough for little padding, narrow enough that the steps of an epoch differ from those of the next.
_POOL_STEPS = 50


def plan_steps(
    lengths: Sequence[int],
    *,
    batch_size: int,
    parts: int,
    seed: int,
    epochs: float,
    grouped: bool = False,
    batch_tokens: int | None = None,
    max_steps: int | None = None,
) -> list[Step]:
    """All optimizer steps of a run.

    Args:
        lengths: tokens of each of N examples.
        batch_size: examples in a part at most.
        parts: forward passes in a step: accumulation steps x ranks. Where the last examples of an
            epoch do not fill a step, its last parts may be empty.
        seed: any integer; decides the order, together with the number of the epoch.
        epochs: passes over the examples; the last may be a part of one.
        grouped: whether examples of like length share steps; else any do, and only the parts of a
            step are of like length.
        batch_tokens: tokens in a part at most, padding included; None: no limit. A longer example
            stands alone. Examples are then grouped, as short ones share larger parts.
        max_steps: steps at most, whatever `epochs` is.
    """
    steps: list[Step] = []
    pool = batch_size * parts * (_POOL_STEPS if grouped or batch_tokens is not None else 1)
    for epoch in range(math.ceil(epochs)):
        random = np.random.default_rng([seed % 2**63, epoch])
        of_epoch = list(_steps_of_epoch(lengths, batch_size, parts, pool, random, batch_tokens))
        share = min(1.0, epochs - epoch)
        steps += islice(of_epoch, math.ceil(share * len(of_epoch)))
        if max_steps is not None and len(steps) >= max_steps:
            return steps[:max_steps]
    return steps


def _steps_of_epoch(
    lengths: Sequence[int],
    batch_size: int,
    parts: int,
    pool: int,
    random: np.random.Generator,
    batch_tokens: int | None,
) -> Iterator[Step]:
    order = random.permutation(len(lengths)).tolist()
    steps: list[Step] = []
    for start in range(0, len(order), pool):
        by_length = sorted(order[start : start + pool], key=lambda index: -lengths[index])
        cut = list(_cut(by_length, lengths, batch_size, batch_tokens))
        for at in range(0, len(cut), parts):
            step = cut[at : at + parts]
            steps.append([*step, *([] for _ in range(parts - len(step)))])
    for index in random.permutation(len(steps)):
        yield steps[index]


def _cut(
    by_length: list[int], lengths: Sequence[int], batch_size: int, batch_tokens: int | None
) -> Iterator[list[int]]:
    """Cut examples, longest first, into parts: the first of a part is as wide as the part."""
    start = 0
    while start < len(by_length):
        count = batch_size
        if batch_tokens is not None:
            count = max(1, min(count, batch_tokens // max(1, lengths[by_length[start]])))
        yield by_length[start : start + count]
        start += count


def parts_of_rank(steps: Sequence[Step], rank: int, ranks: int) -> list[list[int]]:
    """The forward passes of one rank, in order; neighbours in length run side by side."""
    return [part for step in steps for part in step[rank::ranks]]


@dataclass(frozen=True, slots=True)
class Passes:
    """How a part of a step goes through the model.

    Attributes:
        packed: rows are laid end to end (`models.packing`), so none is padded.
        cut: a part may be cut up. Sums over its passes' tokens are those over the part's, so a step
            is the same however it is cut.
    """

    packed: bool
    cut: bool

    @classmethod
    def on(cls, device: str, processes: int, *, packed: bool) -> Passes:
        """The passes on a device.

        A GPU takes hardly longer for a pass of many tokens than for one of few, and between
        processes every backward pass averages gradients: parts are cut on a CPU alone.

        Args:
            device: torch's name of its type, such as "cpu".
            processes: how many train together.
            packed: see the class.
        """
        return cls(packed, cut=device == "cpu" and processes == 1)

    def of(self, lengths: Sequence[int]) -> list[list[int]]:
        """The passes of a part of N examples, each the places of its examples."""
        if not self.cut or len(lengths) < 2:
            return [list(range(len(lengths)))]
        return _full_passes(lengths) if self.packed else _cheapest_passes(lengths)


def _full_passes(lengths: Sequence[int]) -> list[list[int]]:
    """As few passes as hold `_TOKENS_OF_A_PACKED_PASS` tokens each, and about equally many."""
    count = math.ceil(sum(lengths) / _TOKENS_OF_A_PACKED_PASS)
    passes: list[list[int]] = [[] for _ in range(min(count, len(lengths)))]
    filled = [0] * len(passes)
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        emptiest = filled.index(min(filled))
        passes[emptiest].append(index)
        filled[emptiest] += lengths[index]
    return passes


def _cheapest_passes(lengths: Sequence[int]) -> list[list[int]]:
    """Passes of neighbours in length, longest first, that cost least in all.

    A pass costs what its padded rows have in tokens, and `_PRICE_OF_A_CPU_PASS` beside.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    # cheapest[n]: the price of the n longest, and where the last of their passes starts.
    cheapest: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(order) + 1):
        price, start = min(
            (cheapest[start][0] + (end - start) * lengths[order[start]], start)
            for start in range(end)
        )
        cheapest.append((price + _PRICE_OF_A_CPU_PASS, start))
    passes: list[list[int]] = []
    end = len(order)
    while end:
        start = cheapest[end][1]
        passes.append(order[start:end])
        end = start
    return passes[::-1]


def padding_share(lengths: Sequence[int], steps: Sequence[Step], passes: Passes) -> float:
    """The share of padding among all tokens that the steps put through the model, from 0 to 1."""
    if passes.packed:
        return 0.0
    parts = [
        [part[place] for place in places]
        for step in steps
        for part in step
        if part
        for places in passes.of([lengths[index] for index in part])
    ]
    padded = sum(max(lengths[index] for index in part) * len(part) for part in parts)
    used = sum(lengths[index] for part in parts for index in part)
    return 1.0 - used / padded if padded else 0.0
