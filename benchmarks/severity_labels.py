"""Whether all parts of a labelled file were labelled by one rule.

    OMP_NUM_THREADS=1 python benchmarks/severity_labels.py ../shared/data/severity_posts.xlsx \
        --text Diagnosis

The file is any that `tarjih` reads, with a column of labels. `tarjih.severity.stretches` finds the
stretches in which a severity does not occur at all; for each severity that is missing somewhere,
the rows of those stretches ("inside") are compared with the rows that are in no stretch and in no
run of sorted rows ("outside"). Nothing that patients or doctors wrote is printed.

1. The stretches, how often each label occurs in them, and how many labels would be another one if
   the severities that were mixed up there were as frequent as outside.
2. Whether labels of one name mean one thing. A model of three severities is fitted outside and
   ranks rows by expected severity (0 non-critical, 1 neutral, 2 critical). The area under the ROC
   curve is the chance that of two rows with different labels the more severe label is ranked
   higher: 0.5 is chance, below 0.5 the labels are the wrong way round. Where the model was fitted
   it is taken out of fold. A model of the two severities that do occur is fitted inside, and ranks
   by the log-odds of the more severe. Below stands what the first should come to inside if labels
   meant what they mean outside, or if the missing severity was called by another's name, and which
   share of that name's rows would then explain what is seen. Both read the complaint, the response,
   and each column that `--text` names, in turn: a response says what the doctor thought of the
   case. Where the same text occurs inside and outside, a table shows which labels it has outside:
   each row inside counts once, spread evenly over the rows outside that have its text.
3. How well the text tells inside from outside (area under the ROC curve, out of fold).
4. What `tarjih severity fit --kind linear` comes to on all rows as given and on the rows outside
   alone, beside knowing only the frequencies (accuracy of always saying the most frequent label,
   and the log loss of always stating the frequencies, which is their entropy); and what p(critical)
   of the first, out of fold, tells apart: critical from other labels in all rows, inside and
   outside; and inside from outside.

Models are those of the linear annotator's defaults (TF-IDF of 2- to 5-grams of characters,
logistic regression with C = 0.5); folds keep near-duplicates together, and intervals are 95 %,
from the standard error of Hanley and McNeil ("The meaning and use of the area under a receiver
operating characteristic (ROC) curve", Radiology 143, 1982), which takes rows for independent.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline

from tarjih.arabic.normalise import comparison_key
from tarjih.data.read import read_consultations
from tarjih.records import SEVERITIES, Consultation, Severity
from tarjih.severity.annotate import fit_annotator
from tarjih.severity.calibration import Floats, Integers
from tarjih.severity.folds import grouped_folds, near_duplicate_groups
from tarjih.severity.linear import LinearSettings
from tarjih.severity.measures import severity_indices
from tarjih.severity.stretches import Stretch, sorted_runs, suspicious_stretches

CLASSES = range(len(SEVERITIES))
NAMES = tuple(severity.replace("_", "-") for severity in SEVERITIES)
CRITICAL = SEVERITIES.index(Severity.CRITICAL)
FEWEST = 50  # rows of a label that a model is fitted on

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class File:
    """What is known of the rows.

    Attributes:
        rows: n consultations.
        classes: (n,) their labels.
        fold: (n,) which fold holds each row out; near-duplicates share one.
        texts: what models read, by name; n folded texts each.
    """

    rows: list[Consultation]
    classes: Integers
    fold: Integers
    texts: dict[str, list[str]]


@dataclass(frozen=True)
class Parts:
    """The stretches without a severity, as masks (n,) over rows."""

    missing: int
    inside: Mask
    outside: Mask

    @property
    def present(self) -> tuple[int, int]:
        """The two severities that do occur, the less severe one first."""
        low, high = (number for number in CLASSES if number != self.missing)
        return low, high


def main() -> None:
    """Print the four blocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, help="labelled complaints")
    parser.add_argument("--text", action="append", default=[], help="another column to read")
    arguments = parser.parse_args()
    file = read(arguments.file, arguments.text)
    labels = [SEVERITIES[one] for one in file.classes]
    stretches = suspicious_stretches(labels)
    ordered = np.zeros(len(labels), dtype=bool)
    for run in sorted_runs(labels):
        ordered[run.first_row - 1 : run.last_row] = True
    print(f"{len(labels)} labelled complaints\n\n1. Stretches that lack a severity")
    found = list(parts(stretches, ordered))
    show_stretches(file, stretches, found, ordered)
    for one in found:
        show_meaning(file, one)
    show_accuracy(file, found)


def read(path: Path, columns: Sequence[str]) -> File:
    """Read the rows once for each text that models are to read."""
    rows = read_consultations(path, require_severity=True)
    texts = {"complaint": [comparison_key(row.complaint) for row in rows]}
    if any(row.response for row in rows):
        texts["response"] = [comparison_key(row.response) for row in rows]
    for name in columns:
        again = read_consultations(path, columns={"response": name})
        texts[name] = [comparison_key(row.response) for row in again]
    labels = [label for row in rows if (label := row.labelled_severity) is not None]
    settings = LinearSettings()
    groups = near_duplicate_groups(texts["complaint"], settings.near_duplicate_similarity)
    fold = np.zeros(len(rows), dtype=np.int64)
    dealt = grouped_folds(labels, groups, folds=settings.folds, seed=settings.seed)
    for number, (_, held_out) in enumerate(dealt):
        fold[held_out] = number
    return File(rows, severity_indices(labels), fold, texts)


def parts(stretches: Sequence[Stretch], ordered: Mask) -> Iterator[Parts]:
    """The stretches, put together by what they lack; a row belongs to the least likely one."""
    free = ~ordered
    inside: dict[int, Mask] = {}
    for one in stretches:
        missing = SEVERITIES.index(one.missing)
        rows = np.zeros_like(free)
        rows[one.first_row - 1 : one.last_row] = free[one.first_row - 1 : one.last_row]
        free &= ~rows
        inside[missing] = inside.get(missing, np.zeros_like(free)) | rows
    for missing, rows in inside.items():
        yield Parts(missing, rows, free)


def show_stretches(
    file: File, stretches: Sequence[Stretch], found: Sequence[Parts], ordered: Mask
) -> None:
    """Block 1."""
    for one in stretches:
        print(
            f"rows {one.first_row}-{one.last_row} ({one.rows}): no {one.missing}; "
            f"log10 of the chance in a random order {one.log10_chance:.1f}"
        )
    print(f"\n{'':34s}{'rows':>6s}" + "".join(f"{name:>14s}" for name in NAMES))
    masks = {f"inside: no {NAMES[one.missing]}": one.inside for one in found}
    masks["long runs of one label"] = ordered
    masks["outside"] = ~np.any([ordered, *(one.inside for one in found)], axis=0)
    masks["all"] = np.ones_like(ordered)
    for name, mask in masks.items():
        print(f"{name:34s}{mask.sum():6d}" + shares(count(file.classes, mask)))
    print("\nwere the severity that is missing in the mix of outside, of the labels inside")
    for part in found:
        outside, inside = count(file.classes, part.outside), count(file.classes, part.inside)
        for kept in part.present:
            hidden = inside[kept] * outside[part.missing] / (outside[part.missing] + outside[kept])
            print(f"  {hidden:.0f} of {inside[kept]} {NAMES[kept]} were {NAMES[part.missing]}")


def shares(counts: npt.NDArray[np.int64] | Floats) -> str:
    """Counts with their shares, on one line."""
    whole = max(float(counts.sum()), 1.0)
    return "".join(f"{count:8.0f} {count / whole:4.0%} " for count in counts)


def show_meaning(file: File, one: Parts) -> None:
    """Blocks 2 and 3, for the stretches that lack one severity."""
    print(f"\n2. Inside: {one.inside.sum()} rows without {NAMES[one.missing]}")
    inside, outside = (count(file.classes, mask) for mask in (one.inside, one.outside))
    if min(outside) < FEWEST:
        print(f"fewer than {FEWEST} rows of a label outside: no models")
        return
    few = min(inside[number] for number in one.present) < FEWEST
    for name, keys in file.texts.items():
        print(f"\n{name}: area under the ROC curve")
        print(f"{'':28s}{'fitted outside, judged':^40s}{'fitted inside, judged':^40s}")
        print(f"{'':28s}" + f"{'outside':>20s}{'inside':>20s}{'inside':>20s}{'outside':>20s}")
        outer = ranked(keys, file, file.classes, one.outside)
        cells = [(outer, one.outside), (outer, one.inside)]
        if not few:
            inner = ranked(keys, file, file.classes, one.inside)
            cells += [(inner, one.inside), (inner, one.outside)]
        for lower, higher in combinations(CLASSES, 2):
            shown = [area(file.classes, *cell, lower, higher) for cell in cells]
            print(f"  {NAMES[higher] + ' above ' + NAMES[lower]:26s}" + "".join(shown))
        show_expected(file, one, outer)
        both = one.inside | one.outside
        membership = one.inside.astype(np.int64)
        telling = area(membership, ranked(keys, file, membership, both), both, 0, 1)
        print(f"3. inside told from outside {telling}")
        show_same_text(file, keys, one)


def show_expected(file: File, one: Parts, scores: Floats) -> None:
    """What the model fitted outside would come to inside, were the missing severity called so.

    If a share s of the rows that are called one severity were of the missing one, the area would be
    s times that of the missing severity and 1 - s times that of the severity itself.
    """
    low, high = one.present
    outside = count(file.classes, one.outside)

    def above(higher: int, lower: int) -> float:
        return value_of(file.classes, scores, one.outside, lower, higher)

    same, seen = above(high, low), value_of(file.classes, scores, one.inside, low, high)
    print(f"  inside, fitted outside, expected if labels mean what they mean outside: {same:.3f}")
    for name, whole in ((low, above(high, one.missing)), (high, above(one.missing, low))):
        share = outside[one.missing] / (outside[one.missing] + outside[name])
        explaining = (seen - same) / (whole - same)
        print(
            f"    if {share:.0%} of {NAMES[name]} is {NAMES[one.missing]}, as many as outside: "
            f"{share * whole + (1 - share) * same:.3f}; "
            + (f"as seen if {explaining:.0%}" if 0 <= explaining <= 1 else "no share explains it")
        )


def count(classes: Integers, where: Mask) -> Integers:
    """How many rows each class has (3,)."""
    return np.bincount(classes[where], minlength=len(SEVERITIES))


def show_same_text(file: File, keys: Sequence[str], one: Parts) -> None:
    """Which labels the same text has outside, for each label inside."""
    outside = defaultdict(list)
    for row in np.flatnonzero(one.outside).tolist():
        outside[keys[row]].append(int(file.classes[row]))
    table = np.zeros((len(SEVERITIES), len(SEVERITIES)))
    for row in np.flatnonzero(one.inside).tolist():
        labels = outside.get(keys[row], []) if keys[row] else []
        for label in labels:
            table[file.classes[row], label] += 1 / len(labels)
    if table.sum():
        print(f"{'same text, label inside':28s}{'rows':>6s}  label outside: {', '.join(NAMES)}")
    for name, counts in zip(NAMES, table, strict=True):
        if counts.sum():
            print(f"  {name:26s}{counts.sum():6.0f}" + shares(counts))


def ranked(keys: Sequence[str], file: File, classes: Integers, fitted: Mask) -> Floats:
    """How severe a model that is fitted on some rows finds each row (n,); those out of fold.

    Of three classes it is the expected one, of two the log-odds of the higher.
    """
    texts = np.asarray(keys, dtype=object)
    scores = np.zeros(len(texts))
    for number in range(int(file.fold.max()) + 1):
        held_out = fitted & (file.fold == number)
        rest = fitted & (file.fold != number)
        scores[held_out] = severity_of(model().fit(texts[rest], classes[rest]), texts[held_out])
    if not fitted.all():
        others = ~fitted
        scores[others] = severity_of(model().fit(texts[fitted], classes[fitted]), texts[others])
    return scores


def severity_of(fitted: Pipeline, texts: npt.NDArray[np.object_]) -> Floats:
    """See `ranked`."""
    if len(fitted.classes_) == 2:
        return np.asarray(fitted.decision_function(texts), dtype=np.float64)
    probabilities = fitted.predict_proba(texts)
    return np.asarray(probabilities @ np.arange(len(fitted.classes_)), dtype=np.float64)


def model() -> Pipeline:
    """The linear annotator's n-grams and regression, for whatever classes there are."""
    settings = LinearSettings()
    return make_pipeline(
        TfidfVectorizer(
            analyzer=settings.analyzer,
            ngram_range=(settings.shortest_ngram, settings.longest_ngram),
            min_df=settings.min_complaints,
            sublinear_tf=True,
            lowercase=False,
        ),
        LogisticRegression(C=settings.inverse_regularisation, max_iter=settings.max_iterations),
    )


def area(classes: Integers, scores: Floats, where: Mask, lower: int, higher: int) -> str:
    """Area under the ROC curve with its 95 % interval, where both classes occur."""
    numbers = [int(np.count_nonzero(classes[where] == one)) for one in (higher, lower)]
    if min(numbers) == 0:
        return f"{'-':>20s}"
    value = value_of(classes, scores, where, lower, higher)
    margin = 1.96 * standard_error(value, *numbers)
    return f"{f'{value:.3f} [{value - margin:.2f}, {value + margin:.2f}]':>20s}"


def value_of(classes: Integers, scores: Floats, where: Mask, lower: int, higher: int) -> float:
    """Area under the ROC curve: the chance that a row of the higher class has the higher score."""
    chosen = where & ((classes == lower) | (classes == higher))
    return float(roc_auc_score(classes[chosen] == higher, scores[chosen]))


def standard_error(value: float, positive: int, negative: int) -> float:
    """Hanley and McNeil's, of an area under the ROC curve."""
    two_positive = value / (2 - value) - value**2
    two_negative = 2 * value**2 / (1 + value) - value**2
    spread = value * (1 - value) + (positive - 1) * two_positive + (negative - 1) * two_negative
    return float(np.sqrt(spread / (positive * negative)))


def show_accuracy(file: File, found: Sequence[Parts]) -> None:
    """Block 4."""
    print("\n4. The linear annotator, each row by a model that did not see it")
    names = ("rows", "most frequent", "accuracy", "macro-F1", "log loss", "entropy")
    print(f"{'':28s}" + "".join(f"{name:>15s}" for name in names))
    everything = np.ones(len(file.rows), dtype=np.bool_)
    critical = fit_and_show("all rows as given", file, everything)
    if not found:
        return
    outside = found[0].outside
    fit_and_show("rows outside alone", file, outside)
    masks = [one.inside for one in found] + [outside]
    masks.append(~np.any(masks, axis=0))
    right = sum(int(count(file.classes, mask).max()) for mask in masks) / len(file.rows)
    print(f"accuracy of the most frequent label of a row's part, reading nothing: {right:.4f}")
    print("\np(critical) of the first line, area under the ROC curve")
    is_critical = (file.classes == CRITICAL).astype(np.int64)
    where = {"all rows": everything, "outside": outside}
    where |= {f"inside: no {NAMES[one.missing]}": one.inside for one in found}
    for name, mask in where.items():
        print(
            f"  critical above other labels, {name:32s}" + area(is_critical, critical, mask, 0, 1)
        )
    for one in found:
        shown = area(one.inside.astype(np.int64), critical, one.inside | outside, 0, 1)
        print(f"  {f'inside: no {NAMES[one.missing]} above outside':61s}{shown}")


def fit_and_show(name: str, file: File, chosen: Mask) -> Floats:
    """Fit on some rows and print a line; p(critical) of those rows, out of fold."""
    rows = [row for row, there in zip(file.rows, chosen, strict=True) if there]
    annotator = fit_annotator(rows, LinearSettings())
    scored = annotator.score([row.complaint for row in rows])
    assert scored.out_of_fold_rows == len(rows)
    measures = annotator.measures
    assert measures is not None
    frequencies = np.bincount(file.classes[chosen], minlength=len(SEVERITIES)) / len(rows)
    entropy = -sum(float(share * np.log(share)) for share in frequencies if share)
    values = (frequencies.max(), measures.accuracy, measures.macro_f1, measures.log_loss, entropy)
    print(f"{name:28s}{len(rows):15d}" + "".join(f"{value:15.4f}" for value in values), flush=True)
    return scored.probabilities[:, CRITICAL]


if __name__ == "__main__":
    main()
