"""How far chance could have moved a measure: resampled groups of near-duplicates.

Rows that say nearly the same are not independent, so whole groups of them are drawn (the cluster
bootstrap: Davison & Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8) or
exchanged (approximate randomisation: Noreen, "Computer-Intensive Methods for Testing Hypotheses",
1989). Measures are functions of sums over rows, so that a resample is a matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tarjih.severity.calibration import Floats

Measures = Mapping[str, Floats]
_AT_A_TIME = 250  # resamples in memory
_ROUNDING = 1e-12


class Estimate(BaseModel):
    """A number with its 95 % interval; null where it is not defined."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float | None = Field(description="of the rows as they are")
    low: float | None = Field(description="2.5th percentile over resamples")
    high: float | None = Field(description="97.5th percentile over resamples")

    @classmethod
    def of(cls, value: float, resampled: Floats) -> Estimate:
        """From a value and its resamples (r,); NaN counts as not defined."""
        defined = resampled[np.isfinite(resampled)]
        if not math.isfinite(value) or len(defined) == 0:
            return cls(value=None, low=None, high=None)
        low, high = np.quantile(defined, [0.025, 0.975])
        return cls(value=float(value), low=float(low), high=float(high))


def group_totals(statistics: Floats, groups: Sequence[int]) -> Floats:
    """Sum rows (..., n, k) by their n group numbers: (..., g, k), in the order of the numbers."""
    order = np.argsort(groups, kind="stable")
    _, starts = np.unique(np.asarray(groups)[order], return_index=True)
    return np.add.reduceat(statistics[..., order, :], starts, axis=-2)


def bootstrap(
    totals: Floats, measures: Callable[[Floats], Measures], *, resamples: int, seed: int
) -> dict[str, Floats]:
    """Measures of groups drawn with replacement, the same draws for everything before the groups.

    Args:
        totals: (..., g, k) sums of each group.
        measures: sums (..., k) -> measures (...).
        resamples: how many, at least 1.
        seed: of the draws.

    Returns:
        Name of a measure -> (..., resamples).
    """
    count = totals.shape[-2]
    columns = np.moveaxis(totals, -2, 0).reshape(count, -1)  # one large product, not many small
    random = np.random.default_rng(seed)
    found: list[Measures] = []
    for size in _chunks(resamples):
        drawn = random.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        sums = (times.astype(np.float64) @ columns).reshape(
            size, *totals.shape[:-2], totals.shape[-1]
        )
        found.append(measures(np.moveaxis(sums, 0, -2)))
    return {name: np.concatenate([part[name] for part in found], axis=-1) for name in found[0]}


def permutation_p(
    first: Floats,
    second: Floats,
    measures: Callable[[Floats], Measures],
    *,
    resamples: int,
    seed: int,
) -> dict[str, float | None]:
    """Two-sided p that two scorings of the same rows differ as they do by chance.

    Under the null hypothesis either scoring of a group could as well be the other's, so random
    groups are exchanged. p = (1 + exchanges that differ at least as much) / (1 + exchanges).

    Args:
        first: (s, g, k) sums of each group, for s ways to deal the folds; a measure is the mean
            over them.
        second: as `first`.
        measures: sums (..., k) -> measures (...).
        resamples: how many, at least 1.
        seed: of the exchanges.

    Returns:
        Name of a measure -> p, None where the measure is not defined.
    """
    apart = second - first
    sums = first.sum(axis=-2), second.sum(axis=-2)
    observed = _differences(measures, sums[0][:, None], sums[1][:, None])
    random = np.random.default_rng(seed)
    exceeding = dict.fromkeys(observed, 1)
    for size in _chunks(resamples):
        exchanged = random.integers(0, 2, (size, first.shape[-2])).astype(np.float64) @ apart
        found = _differences(measures, sums[0][:, None] + exchanged, sums[1][:, None] - exchanged)
        for name, values in found.items():
            exceeding[name] += int((values >= observed[name][0] - _ROUNDING).sum())
    return {
        name: exceeding[name] / (1 + resamples) if np.isfinite(observed[name][0]) else None
        for name in observed
    }


def _differences(
    measures: Callable[[Floats], Measures], first: Floats, second: Floats
) -> dict[str, Floats]:
    # (s, b, k) twice -> name -> (b,), absolute differences of the means over s.
    before, after = measures(first), measures(second)
    return {name: np.abs(after[name].mean(axis=0) - before[name].mean(axis=0)) for name in before}


def _chunks(resamples: int) -> Iterator[int]:
    for start in range(0, resamples, _AT_A_TIME):
        yield min(_AT_A_TIME, resamples - start)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """The p values corrected for their number (Holm 1979); None stays None and does not count.

    The k-th smallest of m is multiplied by m - k + 1, is never below the one before it, and never
    above 1.
    """
    order = sorted((p, place) for place, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        corrected[place] = highest
    return corrected
