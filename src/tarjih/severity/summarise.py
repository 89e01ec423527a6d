"""From held-out probabilities of several annotators to a comparison with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tarjih.records import SEVERITIES
from tarjih.severity.calibration import Floats, Integers, confidence_bins, most_likely
from tarjih.severity.comparison import (
    ComparedAnnotator,
    Comparison,
    ComparisonSettings,
    Difference,
    Reliability,
    ReliabilityBin,
    TriageChoice,
)
from tarjih.severity.cross_fitted import CrossFittedSettings
from tarjih.severity.measures import (
    confusion_statistics,
    measure,
    measures_of,
    measures_of_calls,
    row_statistics,
)
from tarjih.severity.predictions import HeldOut, LabelledRows
from tarjih.severity.resampling import (
    Estimate,
    Measures,
    bootstrap,
    group_totals,
    holm,
    permutation_p,
)
from tarjih.severity.triage_rule import call, cross_fitted_calls
from tarjih.signature import versions

RELIABILITY_BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """What one annotator made of the rows: for each seed its settings, probabilities, and file."""

    name: str
    settings: Sequence[CrossFittedSettings]
    held_out: Sequence[HeldOut]
    files: Sequence[str]


def summarise(
    rows: LabelledRows, scored: Sequence[ScoredRows], settings: ComparisonSettings
) -> Comparison:
    """Measure every annotator with intervals, and each against the first.

    Args:
        rows: the labelled rows.
        scored: one for each annotator, all with the same seeds.
        settings: of the comparison.
    """
    statistics = [
        [row_statistics(found.probabilities, rows.classes) for found in one.held_out]
        for one in scored
    ]
    totals = group_totals(np.array(statistics), rows.groups)  # annotators, seeds, groups, sums
    values = _over_seeds(measures_of(totals.sum(axis=-2)), axis=1)
    resampled = _over_seeds(
        bootstrap(totals, measures_of, resamples=settings.resamples, seed=settings.seed), axis=1
    )
    triage = _triage(rows, scored, settings)
    return Comparison(
        data={
            "rows": len(rows.labels),
            "rows_by_severity": {str(one): rows.labels.count(one) for one in SEVERITIES},
            "groups_of_near_duplicates": len(set(rows.groups)),
            "sha256": rows.sha256,
        },
        settings=settings.model_dump(mode="json"),
        annotators=tuple(
            _compared(rows, one, _estimates(values, resampled, at), triage[at])
            for at, one in enumerate(scored)
        ),
        differences=tuple(_differences(scored, totals, values, resampled, settings)),
        versions=versions(),
    )


def _over_seeds(measures: Measures, axis: int) -> dict[str, Floats]:
    return {name: found.mean(axis=axis) for name, found in measures.items()}


def _estimates(values: Measures, resampled: Measures, at: int | tuple[int, ...]) -> Estimates:
    return {name: Estimate.of(float(values[name][at]), resampled[name][at]) for name in values}


Estimates = dict[str, Estimate]


def _compared(
    rows: LabelledRows, one: ScoredRows, measures: Estimates, triage: tuple[TriageChoice, ...]
) -> ComparedAnnotator:
    by_seed = [
        measure(found.probabilities, rows.labels, out_of_fold_rows=len(rows.labels))
        for found in one.held_out
    ]
    confusion = np.sum([each.confusion_matrix for each in by_seed], axis=0)
    return ComparedAnnotator(
        name=one.name,
        kind=one.settings[0].kind,
        settings=one.settings[0].model_dump(mode="json"),
        signatures=tuple(found.signature for found in one.held_out),
        probabilities=tuple(one.files),
        measures=measures,
        by_seed=tuple(by_seed),
        confusion_matrix=tuple(tuple(int(count) for count in row) for row in confusion),
        reliability=reliability(
            np.concatenate([found.probabilities for found in one.held_out]),
            np.tile(rows.classes, len(one.held_out)),
        ),
        triage=triage,
    )


def _differences(
    scored: Sequence[ScoredRows],
    totals: Floats,
    values: Measures,
    resampled: Measures,
    settings: ComparisonSettings,
) -> list[Difference]:
    found = []
    for at in range(1, len(scored)):
        p = permutation_p(
            totals[0], totals[at], measures_of, resamples=settings.resamples, seed=settings.seed
        )
        apart = _estimates(
            {name: of_all[[at]] - of_all[[0]] for name, of_all in values.items()},
            {name: of_all[[at]] - of_all[[0]] for name, of_all in resampled.items()},
            0,
        )
        found += [(scored[at].name, name, apart[name], p[name]) for name in values]
    corrected = holm([p for *_, p in found])
    return [
        Difference(name=who, measure=name, difference=apart, p=p, p_corrected=of_all)
        for (who, name, apart, p), of_all in zip(found, corrected, strict=True)
    ]


def reliability(probabilities: Floats, classes: Integers) -> Reliability:
    """Stated probabilities (n, 3) against labels (n,), in 15 bins of equal width."""
    right = most_likely(probabilities) == classes
    return Reliability(
        confidence=_bins(probabilities.max(axis=1), right),
        by_severity={
            str(severity): _bins(probabilities[:, place], classes == place)
            for place, severity in enumerate(SEVERITIES)
        },
    )


def _bins(stated: Floats, right: npt.NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    places = confidence_bins(stated, RELIABILITY_BINS)
    counts = np.bincount(places, minlength=RELIABILITY_BINS)
    sums = np.bincount(places, weights=stated, minlength=RELIABILITY_BINS)
    hits = np.bincount(places, weights=right, minlength=RELIABILITY_BINS)
    return tuple(
        ReliabilityBin(
            count=int(count),
            stated=float(total / count) if count else None,
            observed=float(hit / count) if count else None,
        )
        for count, total, hit in zip(counts, sums, hits, strict=True)
    )


def _triage(
    rows: LabelledRows, scored: Sequence[ScoredRows], settings: ComparisonSettings
) -> list[tuple[TriageChoice, ...]]:
    """For each annotator what each target of under-triage costs; least cost alone comes first."""
    targets = (None, *settings.under_triage_targets)
    found = [[_calls(rows, one, settings, target) for target in targets] for one in scored]
    called = np.array([[calls for calls, _ in of_one] for of_one in found])
    totals = group_totals(confusion_statistics(called, rows.classes), rows.groups)
    values = _over_seeds(measures_of_calls(totals.sum(axis=-2)), axis=2)
    drawn = bootstrap(totals, measures_of_calls, resamples=settings.resamples, seed=settings.seed)
    resampled = _over_seeds(drawn, axis=2)
    return [
        tuple(
            TriageChoice(
                target=target,
                penalties=found[at][place][1],
                measures=_estimates(values, resampled, (at, place)),
            )
            for place, target in enumerate(targets)
        )
        for at in range(len(scored))
    ]


def _calls(
    rows: LabelledRows, one: ScoredRows, settings: ComparisonSettings, target: float | None
) -> tuple[list[Integers], tuple[float | None, ...]]:
    # What the rows are called for each seed, and the penalties of all folds.
    called, penalties = [], []
    for chosen, found in zip(one.settings, one.held_out, strict=True):
        if target is None:
            called.append(call(found.probabilities, settings.costs, 0.0))
            continue
        parts = rows.parts(chosen.folds, chosen.seed)
        of_seed, of_folds = cross_fitted_calls(
            found.probabilities, rows.classes, parts, costs=settings.costs, target=target
        )
        called.append(of_seed)
        penalties += of_folds
    return called, tuple(one if math.isfinite(one) else None for one in penalties)
