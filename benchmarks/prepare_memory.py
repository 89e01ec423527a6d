"""How much memory and time `prepare` needs for a data set of MAQA's size.

Run: python benchmarks/prepare_memory.py [--rows 430000]

Writes a CSV of made-up consultations in Arabic letters (word lengths, word frequencies and text
lengths as in MAQA, every twentieth complaint a slightly changed earlier one), prepares it in a
child process, and prints the child's peak resident memory, its seconds, and how many of the planted
near-duplicates share a group with their original.
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
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

SEED = 7
VOCABULARY = 60_000
LETTERS = [chr(point) for point in (*range(0x0627, 0x063B), *range(0x0641, 0x064B))]
PLANTED_EVERY = 20
EARLIER_KEPT = 5_000
CHILD = """
import sys
from pathlib import Path
from tarjih.data.prepare import prepare
from tarjih.data.summary import PrepareSettings
prepare([sys.argv[1]], Path(sys.argv[2]), PrepareSettings())
"""


def write_consultations(file: Path, rows: int) -> int:
    """Write the CSV; how many near-duplicates it holds."""
    random = np.random.default_rng(SEED)
    lengths = random.integers(2, 8, VOCABULARY)
    vocabulary = np.array(["".join(random.choice(LETTERS, length)) for length in lengths])
    earlier: list[tuple[str, list[str]]] = []
    planted = 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "q_body", "a_body", "category"])
        for row in range(rows):
            name = str(row)
            if row % PLANTED_EVERY == PLANTED_EVERY - 1:
                original, complaint = earlier[int(random.integers(len(earlier)))]
                complaint = complaint.copy()
                complaint[int(random.integers(len(complaint)))] = "\u062c\u062f\u064a\u062f\u0629"
                name, planted = f"{row}/{original}", planted + 1
            else:
                complaint = _words(random, vocabulary)
                if len(earlier) < EARLIER_KEPT and len(complaint) >= 10:
                    earlier.append((name, complaint))
            response = _words(random, vocabulary)
            category = f"category {row % 20}"
            writer.writerow([name, " ".join(complaint), " ".join(response), category])
    return planted


def _words(random: np.random.Generator, vocabulary: np.ndarray) -> list[str]:
    # Log-normal lengths around 60 words; ranks with the frequencies of Zipf's law.
    length = int(np.clip(random.lognormal(3.9, 0.6), 3, 600))
    ranks = (VOCABULARY ** random.random(length)).astype(int) - 1
    return [str(word) for word in vocabulary[ranks]]


def planted_found(folder: Path) -> int:
    """How many planted near-duplicates share the group of their original."""
    groups: dict[str, str] = {}
    for split in ("train", "validation", "test"):
        table = pq.read_table(folder / f"{split}.parquet", columns=["id", "group"])
        groups.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
    pairs = [(name, name.split("/")[1]) for name in groups if "/" in name]
    return sum(groups[name] == groups.get(original) for name, original in pairs)


def main() -> None:
    """Run the benchmark and print its numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=430_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        file, out = Path(name) / "made_up.csv", Path(name) / "prepared"
        planted = write_consultations(file, rows)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", CHILD, str(file), str(out)], check=True)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        result = {
            "rows": rows,
            "source_megabytes": round(file.stat().st_size / 2**20),
            "seconds": round(seconds, 1),
            "peak_resident_megabytes": round(peak),
            "planted_near_duplicates": planted,
            "planted_found": planted_found(out),
            "near_duplicate_rows": summary["near_duplicate_rows"],
            "largest_group": summary["largest_group"],
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
