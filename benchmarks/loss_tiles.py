"""How the size of the tiles changes the time of the loss, against the naive equation.

    python benchmarks/loss_tiles.py [N D V]

Forward and backward with a frozen head in float32; medians of three rounds, all in one run. Ratios
to the naive equation are what counts: absolute times depend on the machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from tarjih.loss import naive_severity_weighted_cross_entropy, severity_weighted_cross_entropy

ROUNDS = 3
TILES_MIB = (1, 2, 4, 8, 16, 32, 64, 128)


def main() -> None:
    """Print one line for each size of tile."""
    rows, width, vocabulary = map(int, sys.argv[1:4]) if len(sys.argv) > 3 else (512, 896, 151_936)
    torch.manual_seed(0)
    hidden = torch.randn(rows, width, requires_grad=True)
    head = torch.randn(vocabulary, width) * 0.02
    targets = torch.randint(0, vocabulary, (rows,))
    weights = torch.rand(rows)
    losses: dict[str, Callable[[], Tensor]] = {
        "naive equation": lambda: naive_severity_weighted_cross_entropy(
            hidden, head, targets, weights
        )
    }
    for size in TILES_MIB:
        losses[f"{size} MiB"] = lambda size=size: severity_weighted_cross_entropy(  # type: ignore[misc]
            hidden, head, targets, weights, tile_bytes=size << 20
        )
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    for _ in range(ROUNDS):
        for name, loss in losses.items():
            start = time.perf_counter()
            loss().backward()  # type: ignore[no-untyped-call]
            seconds[name].append(time.perf_counter() - start)
    naive = median(seconds["naive equation"])
    print(f"N = {rows}, D = {width}, V = {vocabulary}, {torch.get_num_threads()} threads")
    for name, times in seconds.items():
        print(f"{name:<16} {median(times) / naive:5.2f} x the naive equation")


if __name__ == "__main__":
    main()
