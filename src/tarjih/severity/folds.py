"""Folds that keep near-duplicates together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from tarjih.data.duplicates import Fingerprints, find_groups
from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.calibration import Integers
from tarjih.severity.measures import severity_indices

_REMEDY = "give more labelled complaints, or set fewer folds"


def near_duplicate_groups(keys: Sequence[str], similarity: float) -> list[int]:
    """A group number for each comparison key, shape (n,); near-duplicates share one."""
    if not keys:
        return []
    return [int(group) for group in find_groups(Fingerprints.of(keys), similarity)]


def grouped_folds(
    labels: Sequence[Severity], groups: Sequence[int], *, folds: int, seed: int
) -> list[tuple[Integers, Integers]]:
    """Split rows into folds with about equal shares of each severity; no group straddles two.

    Args:
        labels: n severities.
        groups: n group numbers; rows of equal number are near-duplicates of each other.
        folds: how many folds, at least 2.
        seed: of the shuffle.

    Returns:
        For each fold the row numbers to fit on and the row numbers held out.

    Raises:
        DataError: when there are fewer rows (or groups, or rows of a severity) than folds.
    """
    if len(labels) < folds:
        raise DataError(
            f"{len(labels)} labelled complaints are fewer than the {folds} folds", remedy=_REMEDY
        )
    for severity in SEVERITIES:
        count = sum(label == severity for label in labels)
        if count == 0:
            raise DataError(
                f"no labelled complaint is {severity}, so an annotator cannot learn it",
                remedy="label complaints of all three severities",
            )
        if count < folds:
            raise DataError(
                f"{count} labelled complaints are {severity}, fewer than the {folds} folds",
                remedy=_REMEDY,
            )
    distinct = len(set(groups))
    if distinct < folds:
        raise DataError(
            f"there are {distinct} distinct complaints (near-duplicates count once), "
            f"fewer than the {folds} folds",
            remedy=_REMEDY,
        )
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    classes = severity_indices(labels)
    parts = [
        (np.asarray(fitted, dtype=np.int64), np.asarray(held_out, dtype=np.int64))
        for fitted, held_out in splitter.split(classes, classes, list(groups))
    ]
    for fitted, held_out in parts:
        if len(held_out) == 0 or len(np.unique(classes[fitted])) < len(SEVERITIES):
            raise DataError(
                "near-duplicates leave a fold without one of the severities", remedy=_REMEDY
            )
    return parts
