"""How fast an encoder annotates a file, against the published way: one row at a time.

Run: python benchmarks/annotate.py ../shared/data/pairs_train.csv
         --labelled ../shared/data/severity_posts.xlsx

All contenders are one encoder, `packaged:e5-small` fine-tuned for a few steps, on two threads. What
they are compared in is speed and whether they agree, so a head that has learnt little will do; but
its probabilities are near each other, so that rounding moves its arg-max more easily than a good
head's.

- `one row at a time`: tokenizer, model, softmax for each row in float32. How the published loop
  pads is not known to us: it is run without padding, and padded to 128 and to 512 tokens, the
  length that the same authors' training pads to. It reads a part of the rows, chosen over all
  lengths.
- the others: `score_file` from a CSV to a Parquet file in shards, in each precision of scoring.

Models are loaded before the clocks start. Contenders take turns; printed are medians over the
rounds of rows per second and their ratios, the share of rows with float32's arg-max, and the
largest difference of a probability from float32's. The loop that pads to 512 also reads that far,
where the others cut complaints off at 128 tokens.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import torch

from tarjih.data.read import read_consultations
from tarjih.records import PROBABILITY_COLUMNS
from tarjih.severity.annotate import score_file
from tarjih.severity.annotator import NO_WORK
from tarjih.severity.calibration import Floats, softmax
from tarjih.severity.encoder.annotator import EncoderAnnotator
from tarjih.severity.encoder.fine_tune import fine_tune
from tarjih.severity.encoder.scorer import EncoderScorer
from tarjih.severity.encoder.settings import EncoderSettings
from tarjih.severity.encoder.texts import prepare_text
from tarjih.severity.measures import severity_indices

SEED = 7
BUNDLED = "bundled:consultations"
PRECISIONS = ("float32", "bfloat16", "int8-dynamic")
PADDED_TO = (0, 128, 512)  # tokens; 0: not padded
# Of the rows; a padded row takes longer, and fewer will do.
READ_BY_THE_LOOP = {0: 0.1, 128: 0.06, 512: 0.03}


def main() -> None:
    """Run the benchmark and print its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", nargs="?", default=BUNDLED, help="complaints to annotate")
    parser.add_argument("--labelled", default=BUNDLED, help="what the encoder is fine-tuned on")
    parser.add_argument("--fitted", type=int, default=160, help="labelled rows of it that are used")
    parser.add_argument("--rows", type=int, default=1000, help="complaints of the data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = EncoderSettings(device="cpu", precision="float32", epochs=1)
    scorer = fitted(arguments.labelled, arguments.fitted, settings)
    complaints = sample([one.complaint for one in read_consultations(arguments.data)], arguments)
    lengths = [len(ids) for ids in scorer.encoder.tokens(complaints, settings)]
    with tempfile.TemporaryDirectory() as name:
        contenders = Contenders(Path(name), scorer, settings, complaints, lengths)
        results = run(contenders.all(), arguments.rounds)
        found = {precision: contenders.probabilities(precision) for precision in PRECISIONS}
    print(
        f"{len(complaints)} complaints ({len(set(complaints))} distinct, on average "
        f"{statistics.mean(lengths):.0f} tokens), {arguments.threads} threads, "
        f"{arguments.rounds} rounds, torch {torch.__version__}"
    )
    show(results, found, contenders)


def fitted(file: str, rows: int, settings: EncoderSettings) -> EncoderScorer:
    """The encoder, fine-tuned for one pass over some labelled rows."""
    labelled = read_consultations(file, require_severity=True)
    chosen = np.random.default_rng(SEED).permutation(len(labelled))[:rows]
    labels = [labelled[int(row)].labelled_severity for row in chosen]
    classes = severity_indices([label for label in labels if label is not None])
    return fine_tune([labelled[int(row)].complaint for row in chosen], classes, settings, NO_WORK)


def sample(complaints: Sequence[str], arguments: argparse.Namespace) -> list[str]:
    """Some of them, in any order."""
    chosen = np.random.default_rng(SEED).permutation(len(complaints))[: arguments.rows]
    return [complaints[int(row)] for row in chosen]


class Contenders:
    """The ways to annotate the same complaints with the same encoder; each returns its rows."""

    def __init__(
        self,
        folder: Path,
        scorer: EncoderScorer,
        settings: EncoderSettings,
        complaints: Sequence[str],
        lengths: Sequence[int],
    ) -> None:
        self.folder, self.scorer, self.settings = folder, scorer, settings
        self.complaints = complaints
        self.by_length = np.argsort(lengths, kind="stable")
        self.of_loop: dict[int, tuple[list[int], Floats]] = {}
        with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([["complaint"], *([text] for text in complaints)])

    def all(self) -> dict[str, Callable[[], int]]:
        """Each by its name."""
        loops = {
            f"one row at a time, {f'padded to {to}' if to else 'no padding'}": self._loop(to)
            for to in PADDED_TO
        }
        return loops | {precision: self._file(precision) for precision in PRECISIONS}

    def _loop(self, padded_to: int) -> Callable[[], int]:
        count = max(8, round(READ_BY_THE_LOOP[padded_to] * len(self.complaints)))
        places = np.linspace(0, len(self.complaints) - 1, count).astype(int)
        rows = [int(row) for row in self.by_length[places]]

        def run_loop() -> int:
            found = one_at_a_time(
                self.scorer, self.settings, [self.complaints[row] for row in rows], padded_to
            )
            self.of_loop[padded_to] = (rows, found)
            return len(rows)

        return run_loop

    def _file(self, precision: str) -> Callable[[], int]:
        settings = self.settings.model_copy(update={"scoring_precision": precision})
        annotator = EncoderAnnotator.unfitted(
            settings, EncoderScorer(self.scorer.encoder, settings)
        )

        def run_file() -> int:
            out = self.folder / f"{precision}.parquet"
            out.unlink(missing_ok=True)
            # The loop's model is loaded before the clock starts; so is this one.
            with patch("tarjih.severity.annotate.load_annotator", lambda _: annotator):
                return score_file(self.folder, self.folder / "rows.csv", out).rows

        return run_file

    def probabilities(self, precision: str) -> Floats:
        """(n, 3), as the file has them."""
        table = pq.read_table(self.folder / f"{precision}.parquet")
        columns = [table[name].to_numpy() for name in PROBABILITY_COLUMNS]
        return np.asarray(np.stack(columns, axis=1), dtype=np.float64)


def one_at_a_time(
    scorer: EncoderScorer, settings: EncoderSettings, complaints: Sequence[str], padded_to: int
) -> Floats:
    """Probabilities (n, 3), by the loop that one writes first."""
    tokenizer, model = scorer.encoder.tokenizer, scorer.encoder.classifier.eval()
    padding: dict[str, Any] = {"padding": "max_length" if padded_to else False}
    rows = []
    for complaint in complaints:
        text = prepare_text(complaint, settings.text_form)
        inputs = tokenizer(
            text,
            return_tensors="pt",
            truncation=True,
            max_length=padded_to or settings.max_tokens,
            **padding,
        )
        with torch.no_grad():
            logits = model(inputs["input_ids"], inputs["attention_mask"])
        rows.append(logits[0].double().numpy())
    return softmax(np.stack(rows))


def run(contenders: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Rows per second of each contender in each round."""
    paces: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            start = time.perf_counter()
            rows = contender()
            paces[name].append(rows / (time.perf_counter() - start))
    return paces


def show(paces: dict[str, list[float]], found: dict[str, Floats], contenders: Contenders) -> None:
    """Print the table, and its numbers as JSON."""
    medians = {name: statistics.median(values) for name, values in paces.items()}
    loops = [name for name in medians if name not in PRECISIONS]
    print(f"{'':34s}{'rows/s':>8s}" + "".join(f"  / {name[19:]:14s}" for name in loops))
    for name, pace in medians.items():
        ratios = "".join(f"{pace / medians[loop]:18.2f}" for loop in loops)
        print(f"{name:34s}{pace:8.1f}{ratios}")
    exact = found["float32"]
    agreement = {name: agrees(values, exact) for name, values in found.items()}
    for to, (rows, values) in contenders.of_loop.items():
        agreement[f"loop padded to {to}"] = agrees(values, exact[rows])
    for name, (share, difference) in agreement.items():
        print(f"{name:34s} same arg-max {share:.4f}, largest difference {difference:.5f}")
    margins = np.sort(exact, axis=1)
    print(
        f"float32: median of the highest probability {np.median(margins[:, 2]):.3f}, "
        f"of its lead {np.median(margins[:, 2] - margins[:, 1]):.3f}"
    )
    print(json.dumps({"rows_per_second": paces, "agreement": agreement}))


def agrees(found: Floats, exact: Floats) -> tuple[float, float]:
    """The share of rows with the same arg-max, and the largest difference of a probability."""
    same = float((found.argmax(axis=1) == exact.argmax(axis=1)).mean())
    return same, float(np.abs(found - exact).max())


if __name__ == "__main__":
    main()
