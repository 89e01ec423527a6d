"""Splitting whole groups of near-duplicates, so that no complaint is on both sides."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tarjih.errors import DataError

SPLITS = ("train", "validation", "test")
# A group larger than this share of a held-out split would dominate it; others are tried first.
_LARGE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    rows: int
    stratum: str
    rank: bytes


def assign_splits(
    groups: Sequence[str],
    strata: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
) -> list[str]:
    """Deal rows to train, validation and test, whole groups at a time.

    Args:
        groups: group of each row, [n]; rows of one group stay together.
        strata: stratum of each row, [n]; each held-out split gets its share of every stratum. A
            group counts for the stratum of most of its rows.
        fractions: share of the rows in (0, 1) for ``validation`` and ``test``; train has the rest.
        seed: another seed gives another split.

    Returns:
        The split of each row, [n]. It depends on the groups, strata and seed, not on the order of
        the rows. A held-out split misses its size by less than the smallest group that is left for
        train; a group that is larger than a held-out split goes to train.

    Raises:
        DataError: when there are too few groups for every split to have one.
    """
    waiting = _ranked(groups, strata, seed)
    chosen: dict[str, str] = {}
    for split in ("test", "validation"):
        taken = _draw(waiting, round(fractions[split] * len(groups)), len(groups))
        chosen.update(dict.fromkeys((group.name for group in taken), split))
        names = {group.name for group in taken}
        waiting = [group for group in waiting if group.name not in names]
    if not waiting or len(set(chosen.values())) < len(SPLITS) - 1:
        raise DataError(
            f"{len(groups)} rows in {len(set(groups))} groups of near-duplicates are too few for "
            "a training, a validation and a test split",
            remedy="use more rows, or larger validation_fraction and test_fraction",
        )
    return [chosen.get(group, "train") for group in groups]


def _ranked(groups: Sequence[str], strata: Sequence[str], seed: int) -> list[_Group]:
    # Most groups are one row: only the others get a counter, half a million would be large.
    votes = {group: Counter[str]() for group, rows in Counter(groups).items() if rows > 1}
    single: dict[str, str] = {}
    for group, stratum in zip(groups, strata, strict=True):
        if group in votes:
            votes[group][stratum] += 1
        else:
            single[group] = stratum
    found = [_Group(name, 1, stratum, _rank(name, seed)) for name, stratum in single.items()]
    for name, count in votes.items():
        most = max((rows, stratum) for stratum, rows in count.items())[1]
        found.append(_Group(name, count.total(), most, _rank(name, seed)))
    return sorted(found, key=lambda group: group.rank)


def _rank(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()


def _draw(waiting: Sequence[_Group], wanted: int, rows: int) -> list[_Group]:
    """Groups for one split of about `wanted` rows: strata first, then whatever still fits."""
    left = sum(group.rows for group in waiting)
    totals = Counter[str]()
    for group in waiting:
        totals[group.stratum] += group.rows
    wanted = min(max(wanted, 1), left)
    quotas = _proportional({name: total * wanted / left for name, total in totals.items()}, wanted)
    large = max(1.0, _LARGE_SHARE * wanted)
    ordered = sorted(waiting, key=lambda group: group.rows > large)
    taken = []
    for group in ordered:
        if group.rows <= quotas[group.stratum]:
            quotas[group.stratum] -= group.rows
            taken.append(group)
    names = {group.name for group in taken}
    missing = wanted - sum(group.rows for group in taken)
    for group in ordered:
        if group.name not in names and group.rows <= missing:
            missing -= group.rows
            taken.append(group)
    if not taken and len(waiting) > 1:
        # Every group is larger than the split should be: the smallest is the nearest to it.
        smallest = min(waiting, key=lambda group: group.rows)
        taken = [smallest] if smallest.rows <= rows // 2 else []
    return taken


def _proportional(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers near the shares that sum to the total (largest remainders, then names)."""
    counts = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (counts[name] - shares[name], name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
