"""How accurate an annotator of severity can be, judged by complaints that were labelled twice.

    python benchmarks/severity_ceiling.py ../shared/data/severity_posts.xlsx

The file is any that `tarjih` reads, with a column of labels. Near-duplicate complaints in it were
labelled as if they were different ones: how often their labels agree says how far apart people are.

Every pair of rows whose complaints are at least so similar (Jaccard similarity of their sets of
6-character shingles, exact) is two labels of one complaint. A row may be in several pairs; the 95 %
intervals therefore resample groups of rows that near-duplicates connect. Printed are the share of
pairs with the same label, Krippendorff's alpha (ordinal) and Cohen's kappa (quadratic weights; a
pair has no first and second, so both orders count), and what they imply:

Let q_k be the chance that a random labeller gives a complaint the severity k. Two labellers agree
with chance s = sum_k q_k^2, and the mean of s over complaints is the share a. An annotator that
always says the likeliest severity agrees with one labeller with chance m = max_k q_k, and no
annotator that reads the complaint does better. Of all q over K severities with a given s, m is
highest where the rest is spread evenly: s = m^2 + (1 - m)^2 / (K - 1), hence

    m <= (1 + sqrt((K - 1) (K s - 1))) / K.

The right side is concave in s, so the mean of m over complaints is at most its value at a (Jensen):
the ceiling, (1 + sqrt(2 (3 a - 1))) / 3 for three severities. Also m >= s: an annotator that knows
q reaches at least a, which is what one more labeller would.

What this assumes. (1) The two labels are independent given the complaint. A row that was copied
with its label breaks this, and makes people look closer than they are: the second block leaves out
pairs whose responses are equal as well. (2) The two complaints of a pair mean the same. At lower
similarity some do not, and people look further apart. (3) Complaints that were written twice are as
hard as the others. Short ones are harder, as they speak of a picture that only the labeller saw:
the third block leaves out complaints of fewer than 8 words. (4) All labellers are alike; against a
mixture of them an annotator can do better only by knowing who labels. Where parts of the file were
labelled by another rule (`tarjih.severity.stretches`), the last block has only pairs of rows that
are both within or both outside such parts. Where pairs are few, only the intervals say anything.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tarjih.arabic.normalise import comparison_key
from tarjih.data.duplicates import SHINGLE_LENGTH, Fingerprints
from tarjih.data.read import read_consultations
from tarjih.records import SEVERITIES, Consultation, Severity
from tarjih.severity.agreement import RESAMPLES, ordinal_alpha
from tarjih.severity.measures import confusion_statistics, measures_of_calls, severity_indices
from tarjih.severity.resampling import Estimate, Measures, bootstrap, group_totals
from tarjih.severity.stretches import suspicious_stretches

MEASURES = ("same label", "kappa", "alpha", "ceiling")
SIMILARITIES = (0.7, 0.8, 0.9, 1.0)
CLASSES = len(SEVERITIES)
ROWS_AT_A_TIME = 64
FEW_WORDS = 8
# Fingerprints only estimate similarity, with a standard error of 0.04: their margin is four of it.
MARGIN = 0.16

Pairs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Print a line for each similarity, in a block for each choice of pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, help="labelled complaints")
    arguments = parser.parse_args()
    rows = read_consultations(arguments.file, require_severity=True)
    keys = [comparison_key(row.complaint) for row in rows]
    answers = [comparison_key(row.response) for row in rows]
    pairs, similarity = similar_pairs(keys)
    print(f"{len(rows)} labelled complaints; chance agreement {by_chance(rows):.3f}")
    words = [min(len(keys[row].split()) for row in pair) for pair in pairs]
    parts = parts_of([label for row in rows if (label := row.labelled_severity)])
    for title, kept in (
        ("all pairs", [True] * len(pairs)),
        ("pairs whose responses differ", [answers[one] != answers[two] for one, two in pairs]),
        (f"pairs of at least {FEW_WORDS} words", [count >= FEW_WORDS for count in words]),
        ("pairs within one part of the file", [parts[one] == parts[two] for one, two in pairs]),
    ):
        print(f"\n{title}")
        print(f"{'similarity':>10} {'pairs':>6} {'groups':>6}", end="")
        print("".join(f"{name:>24}" for name in MEASURES))
        for threshold in SIMILARITIES:
            chosen = np.array(kept, dtype=bool) & (similarity >= threshold)
            print(line(threshold, rows, pairs[chosen]), flush=True)


def parts_of(labels: Sequence[Severity]) -> list[bool]:
    """For each row whether it is in a stretch that seems to be labelled by another rule."""
    inside = [False] * len(labels)
    for one in suspicious_stretches(labels):
        inside[one.first_row - 1 : one.last_row] = [True] * one.rows
    return inside


def line(threshold: float, rows: Sequence[Consultation], pairs: Pairs) -> str:
    """The numbers of one line."""
    groups = group_of_pairs(pairs, len(rows))
    head = f"{threshold:10.1f} {len(pairs):6d} {len(set(groups)):6d}"
    if not len(pairs):
        return head
    found = measured(rows, pairs, groups)
    return head + "".join(f"{shown(found[name]):>24}" for name in MEASURES)


def measured(
    rows: Sequence[Consultation], pairs: Pairs, groups: Sequence[int]
) -> dict[str, Estimate]:
    """The measures of pairs, with intervals over groups."""
    labels = severity_indices([label for row in rows if (label := row.labelled_severity)])
    one, other = labels[pairs[:, 0]], labels[pairs[:, 1]]
    both_orders = confusion_statistics(one, other) + confusion_statistics(other, one)
    totals = group_totals(both_orders, groups)
    drawn = bootstrap(totals, measures_of_pairs, resamples=RESAMPLES, seed=0)
    values = measures_of_pairs(totals.sum(axis=0))
    return {name: Estimate.of(float(values[name]), drawn[name]) for name in MEASURES}


def measures_of_pairs(totals: Floats) -> Measures:
    """The measures, from summed confusion matrices (..., 9)."""
    calls = measures_of_calls(totals)
    tables = totals.reshape(*totals.shape[:-1], CLASSES, CLASSES)
    return {
        "same label": calls["accuracy"],
        "kappa": calls["quadratic_kappa"],
        "alpha": ordinal_alpha(tables),
        "ceiling": ceiling(calls["accuracy"]),
    }


def ceiling(same: Floats) -> Floats:
    """The highest accuracy against one label, where two labels agree with this share."""
    return np.asarray((1 + np.sqrt(np.maximum(2 * (CLASSES * same - 1), 0))) / CLASSES)


def shown(one: Estimate) -> str:
    """An estimate on little room."""
    return f"{one.value:.3f} [{one.low:.2f}, {one.high:.2f}]"


def by_chance(rows: Sequence[Consultation]) -> float:
    """How often two labels agree that know nothing of the complaint."""
    shares = [sum(row.labelled_severity is one for row in rows) / len(rows) for one in SEVERITIES]
    return sum(share**2 for share in shares)


def similar_pairs(keys: Sequence[str]) -> tuple[Pairs, Floats]:
    """All pairs (p, 2) of rows at least as similar as the least of `SIMILARITIES`, and how similar.

    Every row is compared with every other, so that none is missed; thousands of rows take seconds.
    """
    signatures = Fingerprints.of(keys).signatures
    least = round((SIMILARITIES[0] - MARGIN) * signatures.shape[1])
    shingles = [shingles_of(key) for key in keys]
    pairs, similarity = [], []
    for start in range(0, len(keys), ROWS_AT_A_TIME):
        block = signatures[start : start + ROWS_AT_A_TIME, None, :]
        equal = np.count_nonzero(block == signatures[None, start:, :], axis=2)
        for one, other in np.argwhere(equal >= least).tolist():
            if one < other:
                left, right = shingles[start + one], shingles[start + other]
                exact = len(left & right) / len(left | right)
                if exact >= SIMILARITIES[0]:
                    pairs.append((start + one, start + other))
                    similarity.append(exact)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(similarity)


def shingles_of(key: str) -> frozenset[str]:
    """The sets that `tarjih.data.duplicates` compares: characters without blanks."""
    glued = key.replace(" ", "")
    ends = range(SHINGLE_LENGTH, max(len(glued), SHINGLE_LENGTH) + 1)
    return frozenset(glued[end - SHINGLE_LENGTH : end] for end in ends)


def group_of_pairs(pairs: Pairs, rows: int) -> list[int]:
    """For each pair the lowest row that other pairs connect it with."""
    lowest = list(range(rows))

    def root(row: int) -> int:
        while lowest[row] != row:
            row = lowest[row]
        return row

    for one, other in pairs.tolist():
        first, second = sorted((root(one), root(other)))
        lowest[second] = first
    return [root(int(one)) for one, _ in pairs]


if __name__ == "__main__":
    main()
