"""Parts of a file that seem to be labelled by another rule than the rest.

Labels of several annotators end up in one file one after the other. When one of them never used a
severity, or read its name as another's, the file has a stretch of rows in which that severity does
not occur at all. In a random order such a stretch has a chance that can be told exactly.

Let k of n rows have a severity. They cut the other rows into k + 1 gaps, before, between and after
them, and in a random order all gaps are alike. The first gap has at least L rows when none of the k
is among the first L rows, which has the hypergeometric probability C(n - L, k) / C(n, k). So

    (k + 1) C(n - L, k) / C(n, k)

gaps of at least L rows are expected, and the chance that there is even one is at most that, by
Markov's inequality. Only severities that do not occur at all are found: one stray label cuts a
stretch in two. Rows that are sorted by label lack the other severities, too; they are told apart
because they lie in long runs of a single label (`sorted_runs`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tarjih.progress import Reporter
from tarjih.records import SEVERITIES, Consultation, Severity
from tarjih.severity.calibration import Integers
from tarjih.severity.measures import severity_indices

PRACTICALLY_IMPOSSIBLE = 1e-6  # for each severity: three in a million random files raise an alarm
_MOST_SHOWN = 5
_REMEDY = (
    "What to do: copy such rows into a file of their own and have people label some again "
    "(`tarjih severity review write --blind`), or delete them from a copy of the file and use "
    "that; no option leaves rows out. docs/severity-labels.md tells of such a file"
)

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A longest stretch of rows, in file order, in which a severity does not occur at all.

    Attributes:
        first_row: of the stretch, counted as a person counts: the first row of the data is 1.
        last_row: the last row that belongs to it.
        missing: the severity that does not occur.
        inside: share of each severity among the rows of the stretch, in the order of `SEVERITIES`.
        outside: the same among the rows that are in no suspicious stretch.
        log10_chance: decimal logarithm of the most that the chance of such a stretch can be in a
            random order (it may be too small for a float).
    """

    first_row: int
    last_row: int
    missing: Severity
    inside: tuple[float, ...]
    outside: tuple[float, ...]
    log10_chance: float

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.last_row - self.first_row + 1


@dataclass(frozen=True, slots=True)
class SortedRun:
    """Neighbouring rows that all have one label, too many for a random order; rows as above."""

    first_row: int
    last_row: int
    label: Severity

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.last_row - self.first_row + 1


def suspicious_stretches(
    labels: Sequence[Severity], *, chance: float = PRACTICALLY_IMPOSSIBLE
) -> list[Stretch]:
    """Stretches without a severity that are practically impossible in a random order.

    The least likely stretch is taken first, and what is left is judged without its rows: where the
    one part of a file lacks non-critical labels, its critical ones are few in the other part, and
    gaps between them mean nothing. Rows of `sorted_runs` do not count.

    Args:
        labels: n severities, in the order of the file.
        chance: of a stretch in a random order, below which it is suspicious; in (0, 1). Of random
            orders at most 6 times this share has any (3 severities, sorted runs and stretches).

    Returns:
        The stretches, the least likely one first.
    """
    classes = severity_indices(labels)
    counted = np.ones(len(classes), dtype=np.bool_)
    for run in sorted_runs(labels, chance=chance):
        counted[run.first_row - 1 : run.last_row] = False
    found: list[tuple[int, int, int, float]] = []
    while (candidate := _least_likely(classes, counted))[-1] < math.log10(chance):
        start, stop, _, _ = candidate
        counted[start:stop] = False
        found.append(candidate)
    outside = np.ones(len(classes), dtype=np.bool_)
    for start, stop, _, _ in found:
        outside[start:stop] = False
    return [
        Stretch(
            first_row=start + 1,
            last_row=stop,
            missing=SEVERITIES[missing],
            inside=_shares(classes[start:stop]),
            outside=_shares(classes[outside]),
            log10_chance=log10_chance,
        )
        for start, stop, missing, log10_chance in found
    ]


def sorted_runs(
    labels: Sequence[Severity], *, chance: float = PRACTICALLY_IMPOSSIBLE
) -> list[SortedRun]:
    """Runs of a single label, in file order, that are practically impossible in a random order.

    See `suspicious_stretches` for the arguments. A run of one label is a gap between all others.
    """
    classes = severity_indices(labels)
    found = []
    for number, label in enumerate(SEVERITIES):
        others = int(np.count_nonzero(classes != number))
        found += [
            SortedRun(start + 1, stop, label)
            for start, stop in zip(*_runs(classes == number), strict=True)
            if log10_expected_gaps(len(classes), others, stop - start) < math.log10(chance)
        ]
    return sorted(found, key=lambda run: run.first_row)


def log10_expected_gaps(rows: int, marked: int, length: int) -> float:
    """Decimal logarithm of the expected number of long gaps between marked rows, in random order.

    log10 of (k + 1) C(n - L, k) / C(n, k) for n = `rows`, k = `marked`, L = `length`; minus
    infinity where fewer than L rows are not marked.
    """
    if length > rows - marked:
        return -math.inf
    first_gap = _log_choose(rows - length, marked) - _log_choose(rows, marked)
    return (math.log(marked + 1) + first_gap) / math.log(10)


def warn_of_stretches(labelled: Sequence[Consultation], reporter: Reporter) -> None:
    """Tell of suspicious stretches, with what to do about them, and of rows sorted by label.

    Args:
        labelled: all rows of the data, in their order, each with a person's label.
        reporter: who hears of it.
    """
    labels = [label for one in labelled if (label := one.labelled_severity) is not None]
    stretches = suspicious_stretches(labels)
    if stretches:
        lines = [_told(one) for one in sorted(stretches, key=lambda one: one.first_row)]
        if len(lines) > _MOST_SHOWN:
            lines[_MOST_SHOWN:] = [f"and {len(lines) - _MOST_SHOWN:,} more"]
        reporter.warn(
            "parts of the data (rows are counted without the header and blank rows) seem to be "
            "labelled by another rule, or are of another subject:\n"
            + "".join(f"  {line}\n" for line in lines)
            + "What is learned from, or measured on, all rows is then partly which part of the "
            f"data a complaint is from.\n{_REMEDY}"
        )
    runs = sorted_runs(labels)
    if runs:
        longest = max(runs, key=lambda run: run.rows)
        reporter.note(
            f"{sum(run.rows for run in runs):,} of {len(labels):,} rows seem to be sorted by "
            f"label: they lie in runs of one label (the longest: rows {_range(longest)}, "
            f"{_name(longest.label)}), so their order cannot tell who labelled them"
        )


def _told(one: Stretch) -> str:
    share = one.outside[SEVERITIES.index(one.missing)]
    digits = math.floor(-one.log10_chance)
    return (
        f"rows {_range(one)} ({one.rows:,} rows): none is {_name(one.missing)}, as {share:.0%} of "
        f"the rows outside are; in a random order a chance below 1 in 10^{digits}"
    )


def _range(rows: Stretch | SortedRun) -> str:
    return f"{rows.first_row:,}-{rows.last_row:,}"


def _name(severity: Severity) -> str:
    return severity.replace("_", "-")


def _least_likely(classes: Integers, counted: _Mask) -> tuple[int, int, int, float]:
    """Start, stop, missing class and log10 of the chance; only rows that are counted count."""
    counted_before = np.concatenate(([0], np.cumsum(counted)))
    best = (0, 0, 0, 0.0)
    for missing in range(len(SEVERITIES)):
        starts, stops = _runs(classes != missing)
        if not len(starts):
            continue
        lengths = counted_before[stops] - counted_before[starts]
        longest = int(lengths.argmax())
        marked = int(np.count_nonzero(classes[counted] == missing))
        chance = log10_expected_gaps(int(counted_before[-1]), marked, int(lengths[longest]))
        if chance < best[-1]:
            best = (int(starts[longest]), int(stops[longest]), missing, chance)
    return best


def _runs(where: _Mask) -> tuple[list[int], list[int]]:
    """Starts and stops of the longest runs of rows in which `where` holds."""
    padded = np.concatenate(([False], where, [False]))
    edges = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return edges[::2], edges[1::2]


def _shares(classes: Integers) -> tuple[float, ...]:
    counts = np.bincount(classes, minlength=len(SEVERITIES))
    return tuple(float(share) for share in counts / max(len(classes), 1))


def _log_choose(whole: int, part: int) -> float:
    return math.lgamma(whole + 1) - math.lgamma(part + 1) - math.lgamma(whole - part + 1)
