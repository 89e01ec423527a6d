"""How long 100,000 rows take through `tarjih severity score`, and how much memory.

Run: python benchmarks/severity_scale.py [--rows 100000] [--labelled FILE] [--kind linear]

An annotator is fitted on labelled complaints: the bundled ones, or those of a file. Then as many
complaints are made up, of the words of the bundled ones (log-normal lengths around 25 words, words
as frequent as there), every twentieth a slightly changed one that the annotator was fitted on;
`tarjih severity score` reads them from a CSV in a child process. Printed are its seconds, its peak
resident memory, and how many of the planted near-duplicates got held-out probabilities.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tarjih.data.read import read_consultations
from tarjih.records import Consultation
from tarjih.settings import settings_from_overrides
from tarjih.severity.annotate import fit_annotator
from tarjih.severity.annotator import annotator_class, load_annotator

SEED = 11
BUNDLED = "bundled:consultations"
PLANTED_EVERY = 20
MEAN_WORDS = 25
LONG = 15  # words from which one word more leaves a near-duplicate


def write_complaints(
    file: Path, rows: int, words: Sequence[str], fitted: Sequence[Consultation]
) -> int:
    """Write the CSV; how many near-duplicates of fitted complaints it holds."""
    random = np.random.default_rng(SEED)
    vocabulary = np.array(words)
    long = [one.complaint for one in fitted if len(one.complaint.split()) >= LONG]
    planted = 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "complaint"])
        for row in range(rows):
            if long and row % PLANTED_EVERY == 0:
                chosen = [*long[int(random.integers(len(long)))].split(), str(row)]
                planted += 1
            else:
                length = int(np.clip(random.lognormal(np.log(MEAN_WORDS) - 0.125, 0.5), 3, 200))
                chosen = [str(word) for word in random.choice(vocabulary, length)]
            writer.writerow(
                [f"planted-{row}" if row % PLANTED_EVERY == 0 else row, *[" ".join(chosen)]]
            )
    return planted


def main() -> None:
    """Run the benchmark and print its numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--labelled", default=BUNDLED, help="what the annotator is fitted on")
    parser.add_argument("--kind", default="linear", help="which annotator")
    parser.add_argument("overrides", nargs="*", help="its settings, key=value")
    arguments = parser.parse_args()
    settings = settings_from_overrides(
        annotator_class(arguments.kind).settings_class, arguments.overrides
    )
    fitted = read_consultations(arguments.labelled, require_severity=True)
    words = [word for one in read_consultations(BUNDLED) for word in one.complaint.split()]
    with tempfile.TemporaryDirectory() as name:
        model, file, out = (Path(name) / part for part in ("model", "rows.csv", "scored.parquet"))
        fit_annotator(fitted, settings).save(model)
        planted = write_complaints(file, arguments.rows, words, fitted)
        command = [sys.executable, "-m", "tarjih", "severity", "score"]
        started = time.perf_counter()
        subprocess.run([*command, str(model), str(file), "--out", str(out)], check=True)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        table = pq.read_table(out)
        rows = table.num_rows
        copies = [
            complaint
            for name, complaint in zip(
                *(table.column(part).to_pylist() for part in ("id", "complaint")), strict=True
            )
            if name.startswith("planted-")
        ]
        held_out = load_annotator(model).score(copies).out_of_fold_rows
        result = {
            "annotator": arguments.kind,
            "fitted_rows": len(fitted),
            "rows": rows,
            "mean_words": round(
                np.mean([len(c.split()) for c in table["complaint"].to_pylist()]), 1
            ),
            "seconds": round(seconds, 1),
            "rows_per_second": round(rows / seconds),
            "peak_resident_megabytes": round(peak),
            "annotator_megabytes": round(
                sum(part.stat().st_size for part in model.rglob("*") if part.is_file()) / 2**20, 1
            ),
            "planted_near_duplicates": planted,
            "planted_scored_out_of_fold": held_out,
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
