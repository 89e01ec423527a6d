"""Which complaints each step of a fine-tuning sees, and at what rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Complaints are sorted by length within windows of this many steps: wide enough for little padding,
# narrow enough that no two epochs have the same steps. 1 leaves them unsorted.
WINDOW_STEPS = 50


def plan_steps(
    lengths: Sequence[int], *, batch_size: int, epochs: int, seed: int
) -> list[list[int]]:
    """The rows of each optimizer step: each row once an epoch, rows of like length together.

    Args:
        lengths: tokens of each of n rows.
        batch_size: rows of a step; the last of a window may have fewer.
        epochs: passes over the rows.
        seed: of the order.
    """
    steps: list[list[int]] = []
    window = batch_size * WINDOW_STEPS
    for epoch in range(epochs):
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(lengths)).tolist()
        cut: list[list[int]] = []
        for start in range(0, len(order), window):
            by_length = sorted(order[start : start + window], key=lambda row: -lengths[row])
            cut += [by_length[at : at + batch_size] for at in range(0, len(by_length), batch_size)]
        steps += [cut[place] for place in random.permutation(len(cut))]
    return steps


def rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """What the highest rate is multiplied by at a step, from 0: up in a line, then down to 0."""
    warmup = math.ceil(warmup_share * steps)
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / max(1, steps - warmup)
