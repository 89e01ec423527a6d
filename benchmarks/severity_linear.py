"""How well the n-gram annotator agrees with people's labels, out of fold.

    OMP_NUM_THREADS=1 python benchmarks/severity_linear.py ../shared/data/severity_posts.xlsx

The file is any that `tarjih` reads, with a column of labels. Every line is the mean over
`--seeds` ways to deal the complaints into five folds; near-duplicates stay in one fold. Weights are
w = 0.5 p_non_critical + 1 p_neutral + 1.5 p_critical (the paper's balanced setting).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tarjih.data.read import read_consultations
from tarjih.records import Consultation
from tarjih.settings import make_settings
from tarjih.severity.annotate import fit_annotator
from tarjih.severity.linear import LinearAnnotator, LinearSettings

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
COLUMNS = (
    "accuracy",
    "macro F1",
    "log loss",
    "ECE",
    "under-triage",
    "critical recall",
    "temperature",
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
    arguments = parser.parse_args()
    labelled = read_consultations(arguments.file, require_severity=True)
    print(f"{len(labelled)} labelled complaints, {arguments.seeds} seeds")
    print(f"{'':30s}" + "".join(f"{column:>16s}" for column in COLUMNS))
    for name in VARIANTS if arguments.variants else ["default"]:
        rows = [
            measured(labelled, make_settings(LinearSettings, {**VARIANTS[name], "seed": seed}))
            for seed in range(arguments.seeds)
        ]
        means = np.mean(rows, axis=0)
        print(f"{name:30s}" + "".join(f"{value:16.4f}" for value in means), flush=True)


def measured(labelled: Sequence[Consultation], settings: LinearSettings) -> list[float]:
    """Fit once; give the numbers of one line, in the order of `COLUMNS`."""
    start = time.perf_counter()
    annotator = fit_annotator(labelled, settings)
    seconds = time.perf_counter() - start
    assert isinstance(annotator, LinearAnnotator)
    scored = annotator.score([consultation.complaint for consultation in labelled])
    assert scored.out_of_fold_rows == len(labelled)
    weights = scored.probabilities @ BALANCED
    measures = annotator.measures
    assert measures is not None
    assert measures.under_triage_rate is not None
    assert measures.critical_recall is not None
    return [
        measures.accuracy,
        measures.macro_f1,
        measures.log_loss,
        measures.expected_calibration_error,
        measures.under_triage_rate,
        measures.critical_recall,
        annotator.temperature,
        *(float(value) for value in np.percentile(weights, [5, 95])),
        float(weights.std()),
        seconds,
    ]


if __name__ == "__main__":
    main()
