"""How well the n-gram annotator agrees with people's labels, out of fold.

    OMP_NUM_THREADS=1 python benchmarks/severity_linear.py ../shared/data/severity_posts.xlsx
    ... severity_posts.xlsx --responses --shares 0.3 0.7 1
    ... severity_posts.xlsx --responses --response-columns Plan Diagnosis

The file is any that `tarjih` reads, with a column of labels. Every line is the mean over
`--seeds` ways to deal the complaints into five folds; near-duplicates stay in one fold. Weights are
w = 0.5 p_non_critical + 1 p_neutral + 1.5 p_critical (the paper's balanced setting). "At 10 %" are
accuracy and under-triage under the rule whose penalty keeps under-triage to 10 % on the other folds
(`tarjih.severity.triage_rule`).

`--responses` puts side by side what the doctors' responses can do: ignored, teaching, read.
`--shares` adds other shares of the teacher in the targets.
`--response-columns` takes other columns for responses; several are joined.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tarjih.data.read import read_consultations
from tarjih.records import Consultation
from tarjih.settings import make_settings
from tarjih.severity.annotate import fit_annotator
from tarjih.severity.answered import AnsweredComplaints
from tarjih.severity.linear import LinearAnnotator, LinearSettings
from tarjih.severity.measures import confusion_statistics, measures_of_calls
from tarjih.severity.predictions import LabelledRows
from tarjih.severity.triage_rule import ZERO_ONE, cross_fitted_calls

BALANCED = np.asarray([0.5, 1.0, 1.5])
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "C = 0.2": {"inverse_regularisation": 0.2},
    "C = 1": {"inverse_regularisation": 1.0},
    "C = 3": {"inverse_regularisation": 3.0},
    "characters 2-4": {"longest_ngram": 4},
    "characters 3-5": {"shortest_ngram": 3},
    "characters 2-5, across words": {"analyzer": "char"},
    "words 1-2": {"analyzer": "word", "shortest_ngram": 1, "longest_ngram": 2},
    "at most 20,000 n-grams": {"max_ngrams": 20_000},
    "max share 0.5": {"max_share": 0.5},
}
RESPONSES: dict[str, dict[str, object]] = {
    "ignored": {},
    "teach": {"responses": "teach"},
    "read": {"responses": "read"},
}
UNDER_TRIAGE = 0.10
WIDTH = 16
COLUMNS = (
    "accuracy",
    "macro F1",
    "log loss",
    "ECE",
    "under-triage",
    "critical recall",
    "acc. at 10 %",
    "u.-t. at 10 %",
    "w p05",
    "w p95",
    "w std",
    "seconds",
)


def main() -> None:
    """Print one line of means for the default, and for each variant when asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, help="labelled complaints")
    parser.add_argument("--seeds", type=int, default=3, help="ways to deal the folds")
    parser.add_argument("--variants", action="store_true", help="compare other settings, too")
    parser.add_argument("--responses", action="store_true", help="ignore, teach with, read them")
    parser.add_argument("--shares", nargs="+", type=float, default=[], help="of the teacher")
    parser.add_argument("--response-columns", nargs="+", help="columns to take for responses")
    arguments = parser.parse_args()
    labelled = read_labelled(arguments.file, arguments.response_columns)
    variants = {} if arguments.responses else {"default": VARIANTS["default"]}
    variants |= VARIANTS if arguments.variants else {}
    variants |= RESPONSES if arguments.responses else {}
    for share in arguments.shares:
        variants[f"teach, share {share:g}"] = {"responses": "teach", "teacher_share": share}
    print(f"{len(labelled)} labelled complaints, {arguments.seeds} seeds")
    print(f"{'':30s}" + "".join(f"{column:>{WIDTH}s}" for column in COLUMNS) + "  calibrators")
    for name, variant in variants.items():
        rows, calibrators = [], []
        for seed in range(arguments.seeds):
            settings = make_settings(LinearSettings, {**variant, "seed": seed})
            values, calibrator = measured(labelled, settings)
            rows.append(values)
            calibrators.append(calibrator)
        shown = "".join(f"{value:{WIDTH}.4f}" for value in np.mean(rows, axis=0))
        print(f"{name:30s}{shown}  {', '.join(calibrators)}", flush=True)


def read_labelled(file: Path, columns: Sequence[str] | None) -> list[Consultation]:
    """The rows, with the texts of these columns as responses."""
    if columns is None:
        return read_consultations(file, require_severity=True)
    told = [{"response": column} for column in columns]
    versions = [read_consultations(file, columns=one, require_severity=True) for one in told]
    return [
        replace(rows[0], response="\n".join(row.response for row in rows))
        for rows in zip(*versions, strict=True)
    ]


def measured(labelled: Sequence[Consultation], settings: LinearSettings) -> tuple[list[float], str]:
    """Fit once; give the numbers of one line, in the order of `COLUMNS`, and the calibrator."""
    start = time.perf_counter()
    annotator = fit_annotator(labelled, settings)
    seconds = time.perf_counter() - start
    assert isinstance(annotator, LinearAnnotator)
    scored = annotator.score(AnsweredComplaints.of(labelled))
    assert scored.out_of_fold_rows == len(labelled)
    weights = scored.probabilities @ BALANCED
    rows = LabelledRows.of(labelled, settings.near_duplicate_similarity)
    called, _ = cross_fitted_calls(
        scored.probabilities,
        rows.classes,
        rows.parts(settings.folds, settings.seed),
        costs=ZERO_ONE,
        target=UNDER_TRIAGE,
    )
    by_rule = measures_of_calls(confusion_statistics(called, rows.classes).sum(axis=0))
    measures = annotator.measures
    assert measures is not None
    assert measures.under_triage_rate is not None
    assert measures.critical_recall is not None
    values = [
        measures.accuracy,
        measures.macro_f1,
        measures.log_loss,
        measures.expected_calibration_error,
        measures.under_triage_rate,
        measures.critical_recall,
        float(by_rule["accuracy"]),
        float(by_rule["under_triage_rate"]),
        *(float(value) for value in np.percentile(weights, [5, 95])),
        float(weights.std()),
        seconds,
    ]
    return values, annotator.calibrator.kind


if __name__ == "__main__":
    main()
