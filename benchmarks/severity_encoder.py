"""How well, and how fast, a fine-tuned encoder agrees with people's labels, on grouped folds.

    python benchmarks/severity_encoder.py ../shared/data/severity_posts.xlsx epochs=2 --work work
    python benchmarks/severity_encoder.py ../shared/data/severity_posts.xlsx --precisions
    python benchmarks/severity_encoder.py ../shared/data/severity_posts.xlsx --bucketing

The file is any that `tarjih` reads, with a column of labels. Complaints are dealt into five folds,
near-duplicates in one; an encoder is fine-tuned on four and measured on the fifth. What follows the
options are settings of the annotator. With `--work`, an interrupted run goes on from its last
checkpoint, and a fold that is finished is not fitted again (its seconds are then those of reading).
`loss at T` is the log loss at the temperature that is best for the very rows it is measured on.
`--bucketing` times the steps of an epoch in turn, of like length and with rows as they come.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tarjih.arabic.normalise import comparison_key
from tarjih.data.read import read_consultations
from tarjih.files import sha256_of
from tarjih.progress import Advance, Reporter
from tarjih.records import SEVERITIES, Consultation, Severity
from tarjih.settings import settings_from_overrides
from tarjih.severity.annotator import Work
from tarjih.severity.calibration import Floats, Integers, fit_temperature, softmax
from tarjih.severity.encoder import schedule
from tarjih.severity.encoder.fine_tune import fine_tune
from tarjih.severity.encoder.scorer import EncoderScorer
from tarjih.severity.encoder.settings import EncoderSettings
from tarjih.severity.folds import grouped_folds, near_duplicate_groups
from tarjih.severity.measures import measure, severity_indices

COLUMNS = ("accuracy", "macro F1", "log loss", "loss at T", "under-triage", "fit s", "rows/s")


def main() -> None:
    """Print a line for each fold, and the means; or compare the precisions of scoring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, help="labelled complaints")
    parser.add_argument("settings", nargs="*", help="of the annotator, as key=value")
    parser.add_argument("--folds", type=int, nargs="+", default=[1], help="which of the five")
    parser.add_argument("--work", type=Path, help="where checkpoints and fits are kept")
    parser.add_argument("--precisions", action="store_true", help="compare those of scoring")
    parser.add_argument("--bucketing", action="store_true", help="compare the orders of an epoch")
    parser.add_argument("--rounds", type=int, default=3, help="of --bucketing")
    parser.add_argument("--rows", type=int, default=800, help="of --bucketing, drawn by chance")
    arguments = parser.parse_intermixed_args()
    settings = settings_from_overrides(EncoderSettings, arguments.settings)
    labelled = read_consultations(arguments.file, require_severity=True)
    labels = [one.labelled_severity for one in labelled if one.labelled_severity is not None]
    keys = [comparison_key(one.complaint) for one in labelled]
    groups = near_duplicate_groups(keys, settings.near_duplicate_similarity)
    parts = grouped_folds(labels, groups, folds=settings.folds, seed=0)
    name = sha256_of(settings.model_dump(mode="json", exclude={"scoring_precision"}))[:12]
    work = Work(arguments.work and arguments.work / name)
    print(f"{len(labelled)} labelled complaints; {' '.join(arguments.settings) or 'defaults'}")
    if arguments.bucketing:
        drawn = np.random.default_rng(0).permutation(parts[0][0])[: arguments.rows]
        complaints = [labelled[int(row)].complaint for row in drawn]
        compare_orders(complaints, severity_indices(labels)[drawn], settings, arguments.rounds)
        return
    print(f"{'fold':12s}" + "".join(f"{column:>13s}" for column in COLUMNS))
    rows = []
    for fold in arguments.folds:
        fitted, held_out = parts[fold - 1]
        start = time.perf_counter()
        scorer = fine_tune(
            [labelled[int(row)].complaint for row in fitted],
            severity_indices(labels)[fitted],
            settings,
            work.part(f"fold-{fold}"),
        )
        seconds = time.perf_counter() - start
        chosen = [labelled[int(row)] for row in held_out]
        if arguments.precisions:
            compare_precisions(scorer, settings, chosen)
            continue
        rows.append(measured(scorer, chosen, [labels[int(row)] for row in held_out], seconds))
        print(f"{fold:<12d}" + "".join(f"{value:13.4f}" for value in rows[-1]), flush=True)
    if len(rows) > 1:
        print(f"{'mean':12s}" + "".join(f"{value:13.4f}" for value in np.mean(rows, axis=0)))


def measured(
    scorer: EncoderScorer,
    held_out: Sequence[Consultation],
    labels: Sequence[Severity],
    seconds: float,
) -> list[float]:
    """The numbers of one line, in the order of `COLUMNS`."""
    logits, pace = timed(scorer, held_out)
    found = measure(softmax(logits), labels)
    temperature = fit_temperature(logits, severity_indices(labels))
    cooled = measure(softmax(logits / temperature), labels)
    assert found.under_triage_rate is not None
    return [
        found.accuracy,
        found.macro_f1,
        found.log_loss,
        cooled.log_loss,
        found.under_triage_rate,
        seconds,
        pace,
    ]


def timed(scorer: EncoderScorer, complaints: Sequence[Consultation]) -> tuple[Floats, float]:
    """Logits, and complaints a second."""
    start = time.perf_counter()
    logits = scorer.logits([one.complaint for one in complaints])
    return logits, len(complaints) / (time.perf_counter() - start)


def compare_orders(
    complaints: Sequence[str], classes: Integers, settings: EncoderSettings, rounds: int
) -> None:
    """Seconds of one epoch whose steps are of like length, and of one with steps as they come.

    Loading the encoder is timed with neither.
    """
    one_epoch = settings.model_copy(update={"epochs": 1})
    usual = schedule.WINDOW_STEPS
    ratios = []
    for number in range(rounds):
        seconds = {}
        for window in (usual, 1) if number % 2 == 0 else (1, usual):
            schedule.WINDOW_STEPS = window
            seconds[window] = seconds_of_steps(complaints, classes, one_epoch)
        schedule.WINDOW_STEPS = usual
        ratios.append(seconds[1] / seconds[usual])
        print(
            f"like length {seconds[usual]:7.1f} s, as they come {seconds[1]:7.1f} s, "
            f"ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median ratio {np.median(ratios):.2f} of {len(complaints)} complaints")


def seconds_of_steps(
    complaints: Sequence[str], classes: Integers, settings: EncoderSettings
) -> float:
    """How long the steps of a fine-tuning take."""
    watch = Watch()
    fine_tune(complaints, classes, settings, Work(None, watch))
    return watch.seconds


class Watch(Reporter):
    """Times the stage of the steps."""

    seconds = 0.0

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """See `Reporter.stage`."""
        start = time.perf_counter()
        with super().stage(name, total) as advance:
            yield advance
        self.seconds = time.perf_counter() - start


def compare_precisions(
    scorer: EncoderScorer, settings: EncoderSettings, complaints: Sequence[Consultation]
) -> None:
    """How often each precision of scoring finds the severity that float32 finds, and its pace."""
    reference = None
    for precision in ("float32", "bfloat16", "int8-dynamic"):
        changed = settings.model_copy(update={"scoring_precision": precision})
        logits, pace = timed(EncoderScorer(scorer.encoder, changed), complaints)
        reference = logits if reference is None else reference
        agree = float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean())
        differ = float(np.abs(softmax(logits) - softmax(reference)).max())
        print(
            f"{precision:14s} {pace:8.1f} rows/s, same severity {agree:.4f}, p differs {differ:.4f}"
        )
    assert logits.shape[1] == len(SEVERITIES)


if __name__ == "__main__":
    main()
