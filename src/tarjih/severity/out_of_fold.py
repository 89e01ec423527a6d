"""Held-out probabilities of the complaints that an annotator was fitted on, found by their text.

What patients wrote is not kept: only hashes and fingerprints of it, about 300 bytes a complaint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tarjih.data.duplicates import PLACES, Fingerprints
from tarjih.data.twins import NONE, TwinFinder
from tarjih.files import sha256_of
from tarjih.records import SEVERITIES
from tarjih.severity.calibration import Floats

Hashes = npt.NDArray[np.uint64]
Booleans = npt.NDArray[np.bool_]

_SHAPES = {
    "hashes": (np.uint64, ()),
    "probabilities": (np.float64, (len(SEVERITIES),)),
    "whole": (np.uint64, ()),
    "prefix": (np.uint64, ()),
    "signatures": (np.uint16, (PLACES,)),
}
_PREFIX = "held_out_"


class OutOfFold:
    """Held-out probabilities of k complaints.

    Args:
        hashes: (k,) sorted and distinct, of the comparison keys.
        probabilities: (k, 3), rows summing to 1.
        prints: fingerprints of the k complaints.
        similarity: in (0, 1], from which two complaints are near-duplicates.

    Raises:
        ValueError: when the shapes do not fit or the hashes are not in order.
    """

    def __init__(
        self, hashes: Hashes, probabilities: Floats, prints: Fingerprints, similarity: float
    ) -> None:
        self.hashes = hashes
        self.probabilities = probabilities
        self._prints = prints
        for name, array in self.tensors().items():
            kind, rest = _SHAPES[name.removeprefix(_PREFIX)]
            if array.dtype != kind or array.shape != (len(hashes), *rest):
                raise ValueError(f"{name} are {array.dtype} {array.shape} of {len(hashes)}")
        if np.any(hashes[1:] <= hashes[:-1]):
            raise ValueError("the hashes are not sorted and distinct")
        self._twins = TwinFinder(prints, similarity)

    @classmethod
    def of(cls, keys: Sequence[str], probabilities: Floats, similarity: float) -> Self:
        """Collect (n, 3) held-out probabilities; where a key occurs again they are averaged."""
        hashes, firsts, places, counts = np.unique(
            hash_keys(keys), return_index=True, return_inverse=True, return_counts=True
        )
        sums = np.zeros((len(hashes), len(SEVERITIES)))
        np.add.at(sums, places, probabilities)
        prints = Fingerprints.of([keys[int(first)] for first in firsts])
        return cls(hashes, sums / counts[:, None], prints, similarity)

    def find(self, keys: Sequence[str]) -> tuple[Booleans, Floats]:
        """Which of n keys are known, (n,), and the probabilities of these, in their order.

        A key is known when it is a fitted complaint's, or when it is a near-duplicate's: then the
        probabilities are those of the fitted complaint that is most similar.
        """
        rows = self._equal(keys)
        others = np.flatnonzero(rows == NONE)
        if len(others) and len(self.hashes):
            prints = Fingerprints.of([keys[int(row)] for row in others])
            rows[others] = self._twins.find(prints)
        known = rows != NONE
        return known, self.probabilities[rows[known]]

    def _equal(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        wanted = hash_keys(keys)
        if not len(self.hashes):
            return np.full(len(wanted), NONE, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return np.where(self.hashes[places] == wanted, places, NONE).astype(np.int64)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """What `from_tensors` makes it again of, by names that begin with ``held_out_``."""
        return {
            "held_out_hashes": self.hashes,
            "held_out_probabilities": self.probabilities,
            "held_out_whole": self._prints.whole,
            "held_out_prefix": self._prints.prefix,
            "held_out_signatures": self._prints.signatures,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]], similarity: float) -> Self:
        """What `tensors` gave; other tensors among them are passed over.

        Raises:
            KeyError: when one is missing.
            ValueError: when they do not belong together.
        """
        hashes, probabilities, *prints = (tensors[f"{_PREFIX}{name}"] for name in _SHAPES)
        return cls(hashes, probabilities, Fingerprints(*prints), similarity)


def hash_keys(keys: Sequence[str]) -> Hashes:
    """A 64-bit hash (BLAKE2b) of each text, shape (n,), kept in place of what patients wrote."""
    digests = [hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8) for key in keys]
    return np.asarray([int.from_bytes(d.digest(), "big") for d in digests], dtype=np.uint64)


def fingerprint_digest() -> str:
    """What fingerprints are made of some texts: near-duplicates are only found by the same ones."""
    prints = Fingerprints.of(["", "abc", "the quick brown fox " * 10, "\u0639\u0646\u062f\u064a"])
    return sha256_of([prints.whole.tolist(), prints.prefix.tolist(), prints.signatures.tolist()])
