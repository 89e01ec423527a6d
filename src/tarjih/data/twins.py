"""The nearest of known complaints for each of many others.

`data.duplicates` groups complaints among themselves; here others are looked up among known ones, by
the same fingerprints, bands and threshold, so that both mean the same by a near-duplicate.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tarjih.data.duplicates import PLACES, WIDEST, Fingerprints, band_keys, bands_for

Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
NONE = -1


class TwinFinder:
    """Finds near-duplicates of k known complaints.

    Args:
        known: their fingerprints.
        threshold: estimated Jaccard similarity in (0, 1] from which two complaints are
            near-duplicates. Equal beginnings make near-duplicates as well, as in `find_groups`.
    """

    def __init__(self, known: Fingerprints, threshold: float) -> None:
        self._known = known
        self._threshold = threshold
        self._bands = bands_for(threshold)
        rows = np.arange(len(known.whole))
        self._whole = _Sorted(known.whole, rows)
        self._prefix = _Sorted(known.prefix, np.flatnonzero(known.prefix))
        self._banded = [_Sorted(keys, rows) for keys in self._keys(known)]

    def _keys(self, prints: Fingerprints) -> Iterator[Hashes]:
        bands, places = self._bands
        rows = np.arange(len(prints.whole))
        for band in range(bands):
            yield band_keys(prints.signatures, rows, band * places, places)

    def find(self, asked: Fingerprints) -> Rows:
        """The known complaint that each of n others is most similar to, int64 [n].

        `NONE` where no known complaint is a near-duplicate; of equally similar ones the first.
        """
        nearest = _Nearest(self._known, asked)
        # A known complaint that begins alike counts whatever the threshold: one of the two may
        # have been cut off.
        nearest.offer(self._whole, asked.whole, 0.0)
        nearest.offer(self._prefix, asked.prefix, 0.0)
        for known, keys in zip(self._banded, self._keys(asked), strict=True):
            nearest.offer(known, keys, self._threshold)
        return nearest.twins


class _Sorted:
    """Hashes of known complaints in order, and the complaints they belong to."""

    def __init__(self, hashes: Hashes, rows: npt.NDArray[np.intp]) -> None:
        order = rows[np.argsort(hashes[rows], kind="stable")]
        self.hashes = hashes[order]
        self.rows = order

    def matches(self, hashes: Hashes) -> Iterator[tuple[Rows, Rows]]:
        """Pairs (place in `hashes`, known complaint), each place at most once in a block."""
        next_ = np.searchsorted(self.hashes, hashes, side="left")
        ends = np.searchsorted(self.hashes, hashes, side="right")
        places = np.flatnonzero(next_ < ends)
        for step in range(WIDEST):
            places = places[next_[places] + step < ends[places]]
            if not len(places):
                return
            yield places, self.rows[next_[places] + step]


class _Nearest:
    """The best candidates so far."""

    def __init__(self, known: Fingerprints, asked: Fingerprints) -> None:
        self._known = known.signatures
        self._asked = asked.signatures
        self._best = np.full(len(asked.whole), -1.0)
        self.twins = np.full(len(asked.whole), NONE, dtype=np.int64)

    def offer(self, known: _Sorted, hashes: Hashes, threshold: float) -> None:
        """Take the known complaints of equal hashes where they are nearer than what was found."""
        for places, rows in known.matches(hashes):
            equal = np.count_nonzero(self._asked[places] == self._known[rows], axis=1)
            similarity = equal / PLACES
            best, twins = self._best[places], self.twins[places]
            nearer = (similarity > best) | ((similarity == best) & (rows < twins))
            taken = nearer & (similarity >= threshold)
            self._best[places[taken]] = similarity[taken]
            self.twins[places[taken]] = rows[taken]
