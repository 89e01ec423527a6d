"""Near-duplicate complaints, found by MinHash and banding, at the size of MAQA.

A complaint is the set of its k-character shingles, taken from its comparison key without blanks
(scraped Arabic often has glued words). The share of equal places in two signatures estimates the
Jaccard similarity |A and B| / |A or B| of their sets (Broder, "On the resemblance and containment
of documents", 1997). Signatures are cut into bands; complaints that agree on a whole band are
compared, and joined when the estimate reaches the threshold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHINGLE_LENGTH = 6  # characters without blanks, about one Arabic word and a half
PLACES = 128  # of a signature; the estimate's standard error at 0.7 is 0.04
# A complaint cut off at its source begins like the whole one (AHD questions end at about 139
# characters), and people ask again with the same beginning. This many characters without blanks
# are about 13 words; much fewer would be a greeting that many share.
PREFIX_LENGTH = 64

_CERTAINTY = 0.95  # chance to compare two complaints that are exactly as similar as the threshold
WIDEST = 256  # neighbours that a complaint in a crowded band is compared with
_BLOCK_SHINGLES = 1 << 16  # so that the working arrays stay in the processor's cache
_BLOCK_PAIRS = 1 << 16
_PRIME = np.uint32(0x01000193)

Signatures = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What is kept of n complaints: 272 bytes each.

    Attributes:
        whole: a hash of the folded complaint, uint64 [n]; equal means the same complaint.
        prefix: a hash of its beginning, uint64 [n]; 0 where it is shorter than `PREFIX_LENGTH`.
        signatures: uint16 [n, `PLACES`].
    """

    whole: npt.NDArray[np.uint64]
    prefix: npt.NDArray[np.uint64]
    signatures: Signatures

    @staticmethod
    def of(keys: Sequence[str]) -> Fingerprints:
        """Fingerprints of complaints, given by their `comparison_key`."""
        glued = [key.replace(" ", "") for key in keys]
        begins = [_hash(key[:PREFIX_LENGTH]) if len(key) >= PREFIX_LENGTH else 0 for key in glued]
        return Fingerprints(
            np.array([_hash(key) for key in glued], dtype=np.uint64),
            np.array(begins, dtype=np.uint64),
            signatures_of(glued),
        )

    @staticmethod
    def joined(parts: list[Fingerprints]) -> Fingerprints:
        """The fingerprints of all the parts, one after the other; the list is emptied."""
        rows = sum(len(part.whole) for part in parts)
        whole = np.empty(rows, dtype=np.uint64)
        prefix = np.empty(rows, dtype=np.uint64)
        signatures = np.empty((rows, PLACES), dtype=np.uint16)
        end = rows
        while parts:  # each part is freed as soon as it is copied
            part = parts.pop()
            start = end - len(part.whole)
            whole[start:end] = part.whole
            prefix[start:end] = part.prefix
            signatures[start:end] = part.signatures
            end = start
        return Fingerprints(whole, prefix, signatures)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def signatures_of(texts: Sequence[str]) -> Signatures:
    """MinHash signatures of texts, uint16 [n, `PLACES`].

    A text shorter than a shingle is one shingle by itself, so that short texts are near-duplicates
    only when they are equal.
    """
    signatures = np.empty((len(texts), PLACES), dtype=np.uint16)
    start = 0
    while start < len(texts):
        end, size = start, 0
        while end < len(texts) and (end == start or size < _BLOCK_SHINGLES):
            size += len(texts[end]) + 1
            end += 1
        signatures[start:end] = _signatures_of_block(texts[start:end])
        start = end
    return signatures


def _signatures_of_block(texts: Sequence[str]) -> Signatures:
    padded = [text.ljust(SHINGLE_LENGTH, "\0") for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32)
    lengths = np.array([len(text) for text in padded])
    windows = len(points) - SHINGLE_LENGTH + 1
    shingles = np.zeros(windows, dtype=np.uint32)
    for offset in range(SHINGLE_LENGTH):
        shingles = shingles * _PRIME + points[offset : offset + windows]
    ends = np.cumsum(lengths)
    inside = np.ones(windows, dtype=bool)
    for back in range(1, SHINGLE_LENGTH):  # windows that reach into the next text
        inside[ends[:-1] - back] = False
    shingles = _mixed(shingles[inside])
    counts = lengths - SHINGLE_LENGTH + 1
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    block = np.empty((len(texts), PLACES), dtype=np.uint16)
    for place, (factor, shift) in enumerate(_PERMUTATIONS):
        lowest = np.minimum.reduceat(shingles * factor + shift, starts)
        # The high bits of a minimum are nearly always 0; mixed, its low bits tell minima apart.
        block[:, place] = _mixed(lowest) & np.uint32(0xFFFF)
    return block


def _mixed(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Spread 32-bit values evenly (the finaliser of MurmurHash3)."""
    values = (values ^ (values >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    values = (values ^ (values >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))


def _permutations() -> list[tuple[np.uint32, np.uint32]]:
    # A constant, not the user's seed: the same complaints are near-duplicates in every run.
    random = np.random.default_rng(20260101)
    factors = random.integers(0, 1 << 31, PLACES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    shifts = random.integers(0, 1 << 32, PLACES, dtype=np.uint32)
    return list(zip(factors, shifts, strict=True))


_PERMUTATIONS = _permutations()


def bands_for(threshold: float) -> tuple[int, int]:
    """How many bands of how many places find pairs at the threshold with 95 % certainty.

    A pair of similarity s agrees on one of b bands of r places with probability 1 - (1 - s^r)^b;
    the longest bands that reach the certainty have the fewest pairs to compare in vain.
    """
    for places in range(16, 1, -1):
        bands = PLACES // places
        if 1 - (1 - threshold**places) ** bands >= _CERTAINTY:
            return bands, places
    return PLACES, 1


def find_groups(prints: Fingerprints, threshold: float) -> npt.NDArray[np.int64]:
    """Group near-duplicates.

    Args:
        prints: fingerprints of n complaints.
        threshold: estimated Jaccard similarity in (0, 1] from which two complaints are
            near-duplicates. Equal beginnings (`PREFIX_LENGTH`) make near-duplicates as well.

    Returns:
        int64 [n]: for each complaint the index of one member of its group, the same for all of it.
    """
    parents = np.arange(len(prints.whole))
    _join_equal(parents, prints.whole, np.arange(len(prints.whole)))
    _join_equal(parents, prints.prefix, np.flatnonzero(prints.prefix))
    # Equal complaints have equal signatures: one of each is enough to compare.
    _, firsts = np.unique(prints.whole, return_index=True)
    bands, places = bands_for(threshold)
    for band in range(bands):
        keys = band_keys(prints.signatures, firsts, band * places, places)
        order = np.argsort(keys, kind="stable")
        for left, right in _close_pairs(keys[order]):
            _join_similar(
                parents, prints.signatures, firsts[order[left]], firsts[order[right]], threshold
            )
    return np.array([_root(parents, index) for index in range(len(parents))], dtype=np.int64)


def band_keys(
    signatures: Signatures, rows: npt.NDArray[np.intp], first: int, places: int
) -> npt.NDArray[np.uint64]:
    """One number for the places of a band, from `first` on, of each of the rows: uint64 [rows]."""
    keys = np.zeros(len(rows), dtype=np.uint64)
    for place in range(first, first + places):
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + signatures[rows, place] + np.uint64(1)
        keys ^= keys >> np.uint64(29)
    return keys


def _close_pairs(
    keys: npt.NDArray[np.uint64],
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Pairs of places in sorted keys that hold equal keys, up to `WIDEST` places apart."""
    left = np.arange(len(keys))
    for distance in range(1, WIDEST + 1):
        left = left[left + distance < len(keys)]
        # Sorted, so a key that differs at this distance differs at every greater one.
        left = left[keys[left] == keys[left + distance]]
        if not len(left):
            return
        for start in range(0, len(left), _BLOCK_PAIRS):
            block = left[start : start + _BLOCK_PAIRS]
            yield block, block + distance


def _join_similar(
    parents: npt.NDArray[np.int64],
    signatures: Signatures,
    left: npt.NDArray[np.intp],
    right: npt.NDArray[np.intp],
    threshold: float,
) -> None:
    apart = parents[left] != parents[right]
    left, right = left[apart], right[apart]
    similar = (signatures[left] == signatures[right]).mean(axis=1) >= threshold
    for one, other in zip(left[similar].tolist(), right[similar].tolist(), strict=True):
        _join(parents, one, other)


def _join_equal(
    parents: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64], rows: npt.NDArray[np.intp]
) -> None:
    order = rows[np.argsort(hashes[rows], kind="stable")]
    equal = hashes[order[:-1]] == hashes[order[1:]]
    for one, other in zip(order[:-1][equal].tolist(), order[1:][equal].tolist(), strict=True):
        _join(parents, one, other)


def _join(parents: npt.NDArray[np.int64], one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first


def _root(parents: npt.NDArray[np.int64], index: int) -> int:
    root = index
    while parents[root] != root:
        root = int(parents[root])
    while parents[index] != root:  # the next search for any of these is one step
        parents[index], index = root, int(parents[index])
    return root
