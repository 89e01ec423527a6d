"""Which examples share a forward pass, and which an optimizer step.

A step is cut into parts, one forward pass each: accumulation steps x ranks of them. Which examples
a step has depends on the seed, the lengths and the size of a step, but not on how it is cut: batch
8, 4 x 2, 1 x 8 and two ranks x 4 see the same steps, and so take the same path.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

Step = list[list[int]]
"""The parts of an optimizer step, each the indices of the examples of one forward pass."""

# What a forward and backward pass costs on a CPU whatever its length, in tokens' worth: measured
# with LoRA on Gemma 3 270M and little different from model to model, as both grow with the model.
_TOKENS_OF_A_CPU_PASS = 100

# Examples are sorted by length within pools of this many steps: wide enough for little padding,
# narrow enough that the steps of an epoch differ from those of the next.
_POOL_STEPS = 50


def plan_steps(
    lengths: Sequence[int],
    *,
    batch_size: int,
    parts: int,
    seed: int,
    epochs: float,
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
        batch_tokens: tokens in a part at most, padding included; None: no limit. A longer example
            stands alone.
        max_steps: steps at most, whatever `epochs` is.
    """
    steps: list[Step] = []
    for epoch in range(math.ceil(epochs)):
        of_epoch = list(_steps_of_epoch(lengths, batch_size, parts, seed, epoch, batch_tokens))
        share = min(1.0, epochs - epoch)
        steps += islice(of_epoch, math.ceil(share * len(of_epoch)))
        if max_steps is not None and len(steps) >= max_steps:
            return steps[:max_steps]
    return steps


def _steps_of_epoch(
    lengths: Sequence[int],
    batch_size: int,
    parts: int,
    seed: int,
    epoch: int,
    batch_tokens: int | None,
) -> Iterator[Step]:
    random = np.random.default_rng([seed % 2**63, epoch])
    order = random.permutation(len(lengths)).tolist()
    pool = batch_size * parts * _POOL_STEPS
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


def tokens_of_a_pass(device: str, processes: int) -> int | None:
    """What a pass costs whatever its length, in tokens; None where parts are not to be cut up.

    On a GPU a pass of many tokens takes hardly longer than one of few; between processes every
    backward pass averages gradients.

    Args:
        device: torch's name of its type, such as "cpu".
        processes: how many train together.
    """
    return _TOKENS_OF_A_CPU_PASS if device == "cpu" and processes == 1 else None


def cut_into_passes(lengths: Sequence[int], tokens_of_a_pass: int | None) -> list[list[int]]:
    """Cut a part of N examples into the forward passes that cost least, longest first.

    A pass costs what its padded rows have in tokens, and `tokens_of_a_pass` beside. Sums over the
    passes' tokens are those over the part's, so a step is the same however it is cut.

    Args:
        lengths: tokens of each example.
        tokens_of_a_pass: from `tokens_of_a_pass`; None leaves the part whole, in its order.
    """
    if tokens_of_a_pass is None or len(lengths) < 2:
        return [list(range(len(lengths)))]
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    # cheapest[n]: of the n longest, all cut, with the start of the last pass.
    cheapest: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(order) + 1):
        cheapest.append(
            min(
                (cheapest[start][0] + (end - start) * lengths[order[start]], start)
                for start in range(end)
            )
        )
        cheapest[-1] = (cheapest[-1][0] + tokens_of_a_pass, cheapest[-1][1])
    passes: list[list[int]] = []
    end = len(order)
    while end:
        start = cheapest[end][1]
        passes.append(order[start:end])
        end = start
    return passes[::-1]


def padding_share(
    lengths: Sequence[int], steps: Sequence[Step], tokens_of_a_pass: int | None = None
) -> float:
    """The share of padding among all tokens that the steps put through the model, from 0 to 1."""
    parts = [
        [part[index] for index in chosen]
        for step in steps
        for part in step
        if part
        for chosen in cut_into_passes([lengths[index] for index in part], tokens_of_a_pass)
    ]
    padded = sum(max(lengths[index] for index in part) * len(part) for part in parts)
    used = sum(lengths[index] for part in parts for index in part)
    return 1.0 - used / padded if padded else 0.0
