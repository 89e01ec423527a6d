"""Folds that keep near-duplicates together, and the probabilities that come out of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.calibration import Floats, Integers
from tarjih.severity.measures import severity_indices

Hashes = npt.NDArray[np.uint64]
_REMEDY = "give more labelled complaints, or set fewer folds"


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


def hash_keys(keys: Sequence[str]) -> Hashes:
    """A 64-bit hash (BLAKE2b) of each text, shape (n,), kept in place of what patients wrote."""
    digests = [hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8) for key in keys]
    return np.asarray([int.from_bytes(d.digest(), "big") for d in digests], dtype=np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """Held-out probabilities of the complaints that an annotator was fitted on.

    Attributes:
        hashes: (k,) sorted and distinct, of the comparison keys.
        probabilities: (k, 3), rows summing to 1.
    """

    hashes: Hashes
    probabilities: Floats

    def __post_init__(self) -> None:
        if self.probabilities.shape != (len(self.hashes), len(SEVERITIES)):
            raise ValueError(
                f"{self.hashes.shape} hashes, {self.probabilities.shape} probabilities"
            )
        if np.any(self.hashes[1:] <= self.hashes[:-1]):
            raise ValueError("the hashes are not sorted and distinct")

    @classmethod
    def of(cls, keys: Sequence[str], probabilities: Floats) -> OutOfFold:
        """Collect (n, 3) held-out probabilities; where a key occurs again they are averaged."""
        hashes, places, counts = np.unique(hash_keys(keys), return_inverse=True, return_counts=True)
        sums = np.zeros((len(hashes), len(SEVERITIES)))
        np.add.at(sums, places, probabilities)
        return cls(hashes, sums / counts[:, None])

    def find(self, keys: Sequence[str]) -> tuple[npt.NDArray[np.bool_], Floats]:
        """Which keys are known (n,), and the probabilities of the known ones, in their order."""
        wanted = hash_keys(keys)
        if len(self.hashes) == 0:
            return np.zeros(len(wanted), dtype=np.bool_), self.probabilities
        places = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        known = self.hashes[places] == wanted
        return known, self.probabilities[places[known]]
