"""How far apart people are who label the same complaints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.calibration import Floats
from tarjih.severity.measures import confusion_statistics, measures_of_calls, severity_indices
from tarjih.severity.resampling import Estimate, Measures, bootstrap

RESAMPLES = 2000
_CLASSES = len(SEVERITIES)
_REMEDY = "give sheets of at least two people that share complaints of several severities"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree on complaints that at least two of them labelled.

    Attributes:
        people: who gave any label.
        complaints: with at least two labels; the others say nothing.
        same_label: share of the pairs of labels of one complaint that are the same, 0 to 1.
        alpha: see `krippendorff_alpha`.
        kappa: Cohen's kappa with quadratic weights, -1 to 1; None unless there are two people.
    """

    people: int
    complaints: int
    same_label: Estimate
    alpha: Estimate
    kappa: Estimate | None


def agreement(
    labels: Sequence[Sequence[Severity | None]], *, resamples: int = RESAMPLES, seed: int = 0
) -> Agreement:
    """All measures of agreement, with 95 % intervals over complaints.

    Args:
        labels: for each complaint the labels of the same people in the same order, None where one
            gave none.
        resamples: of the complaints, drawn with replacement.
        seed: of the resampling.

    Raises:
        DataError: when no complaint has two labels, or all labels are one severity.
    """
    people = {place for row in labels for place, label in enumerate(row) if label is not None}
    shared = [[label for label in row if label is not None] for row in labels]
    shared = [row for row in shared if len(row) > 1]
    krippendorff_alpha(shared)  # says what is missing where there is nothing to measure
    counts = label_counts(shared)
    tables = coincidences(counts).reshape(len(shared), -1)
    found = _estimates(np.hstack([tables, _pairs(counts)]), _share_and_alpha, resamples, seed)
    kappa = None
    if len(people) == 2:  # so a complaint with two labels has those of both, in their order
        first, second = (severity_indices([row[side] for row in shared]) for side in (0, 1))
        sides = confusion_statistics(second, first)
        kappa = _estimates(sides, measures_of_calls, resamples, seed)["quadratic_kappa"]
    return Agreement(len(people), len(shared), found["same_label"], found["alpha"], kappa)


def _share_and_alpha(totals: Floats) -> Measures:
    tables = totals[..., :-2].reshape(*totals.shape[:-1], _CLASSES, _CLASSES)
    return {"same_label": totals[..., -2] / totals[..., -1], "alpha": ordinal_alpha(tables)}


def _estimates(
    statistics: Floats, measures: Callable[[Floats], Measures], resamples: int, seed: int
) -> dict[str, Estimate]:
    drawn = bootstrap(statistics, measures, resamples=resamples, seed=seed)
    values = measures(statistics.sum(axis=0))
    return {name: Estimate.of(float(values[name]), drawn[name]) for name in drawn}


def krippendorff_alpha(labels: Sequence[Sequence[Severity | None]]) -> float:
    """Krippendorff's alpha for ordered severities; 1 is agreement, 0 what chance would give.

    Args:
        labels: for each complaint the labels of its annotators, None where one gave none.
            Complaints with fewer than two labels say nothing and are left out.

    Returns:
        alpha, at most 1, below 0 where people disagree more than by chance.

    Raises:
        DataError: when no complaint has two labels, or all labels are one severity: then nothing
            could have disagreed.
    """
    alpha = float(ordinal_alpha(coincidences(label_counts(labels)).sum(axis=0)))
    if not np.isfinite(alpha):
        raise DataError(
            "there are no two labels that could differ, so agreement is not defined",
            remedy=_REMEDY,
        )
    return alpha


def label_counts(labels: Sequence[Sequence[Severity | None]]) -> Floats:
    """(n, 3): how many people gave each of n complaints each severity."""
    counts = np.zeros((len(labels), _CLASSES))
    for place, row in enumerate(labels):
        for label in row:
            if label is not None:
                counts[place, SEVERITIES.index(label)] += 1
    return counts


def coincidences(counts: Floats) -> Floats:
    """(n, classes, classes): the ordered pairs of labels of each of n complaints.

    Each complaint with m labels adds m(m - 1) ordered pairs, each over m - 1, so that it counts as
    often as it has labels (Krippendorff 2011, section D); with fewer than two labels it adds none.

    Args:
        counts: (n, classes), from `label_counts`.
    """
    pairs = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(counts.shape[1])
    pairs[:, diagonal, diagonal] -= counts
    others = np.maximum(counts.sum(axis=1) - 1, 1)
    return np.asarray(pairs / others[:, None, None])


def ordinal_alpha(table: Floats) -> Floats:
    """Krippendorff's alpha from summed coincidences (..., classes, classes), classes in order.

    alpha = 1 - observed / expected disagreement, where classes c < k disagree by (n_c / 2 + the
    labels between them + n_k / 2) squared: by how many labels lie between them (Krippendorff,
    "Computing Krippendorff's Alpha-Reliability", 2011, ordinal metric). nan where all labels are of
    one class.
    """
    totals = table.sum(axis=-1)
    below = np.cumsum(totals, axis=-1) - totals / 2  # labels up to the middle of each class
    distances = (below[..., :, None] - below[..., None, :]) ** 2
    observed = (table * distances).sum(axis=(-2, -1))
    expected = (totals[..., :, None] * totals[..., None, :] * distances).sum(axis=(-2, -1))
    labels = totals.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1.0 - (labels - 1) * observed / expected)


def _pairs(counts: Floats) -> Floats:
    """(n, 2): pairs of people who gave a complaint the same label, and all pairs."""
    labels = counts.sum(axis=1)
    same = (counts * (counts - 1) / 2).sum(axis=1)
    return np.stack([same, labels * (labels - 1) / 2], axis=1)
