"""What the lexicon reads right, and how fast: on sentences of our own, and on labelled complaints.

    python benchmarks/severity_lexicon.py [LABELLED] [--complaints 100000]

Prints the share read right for each dialect and each phenomenon of the challenge sentences of the
tests (apart: those that were read while the reader was built, and those that were not), the time
for so many complaints of about 25 words on one core, and, for labelled complaints, the confusion of
what the lexicon says with what people said. No complaint is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tarjih.data.read import read_consultations
from tarjih.records import SEVERITIES, Consultation, Severity
from tarjih.severity.lexical import OUTCOMES
from tarjih.severity.lexicon.reading import Lexicon, bundled_lexicon

CHALLENGE = Path(__file__).parents[1] / "tests" / "severity" / "lexicon" / "challenge.jsonl"
WORDS = 25
ENGLISH: dict[Severity | None, str] = {
    None: "nothing",
    **{one: str(one).replace("_", "-") for one in SEVERITIES},
}


def main() -> None:
    """Print all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("labelled", type=Path, nargs="?", help="labelled complaints")
    parser.add_argument("--complaints", type=int, default=100_000, help="to read against the clock")
    arguments = parser.parse_args()
    start = time.perf_counter()
    lexicon = bundled_lexicon()
    print(f"{len(lexicon.signs)} signs, loaded in {time.perf_counter() - start:.2f} s")
    rows = [json.loads(line) for line in CHALLENGE.read_text(encoding="utf-8").splitlines()]
    report_challenge(lexicon, rows)
    report_speed(lexicon, [row["complaint"] for row in rows], arguments.complaints)
    if arguments.labelled is not None:
        report_labelled(lexicon, read_consultations(arguments.labelled, require_severity=True))


def report_challenge(lexicon: Lexicon, rows: Sequence[dict[str, str]]) -> None:
    """Print the share read right of each group, and what red flags come to."""
    right: Counter[tuple[str, bool]] = Counter()
    rows_of: Counter[tuple[str, bool]] = Counter()
    pairs: dict[bool, Counter[tuple[Severity, Severity | None]]] = {
        True: Counter(),
        False: Counter(),
    }
    for row in rows:
        unseen = int(row["id"].removeprefix("c-")) % 2 == 0
        found = lexicon.read(row["complaint"]).severity
        expected = Severity(row["severity"])
        pairs[unseen][expected, found] += 1
        for group in ("all", row["dialect"], row["phenomenon"]):
            rows_of[group, unseen] += 1
            right[group, unseen] += (found or Severity.NON_CRITICAL) is expected
    print(f"\n{'share read right':20s}{'were read':>16s}{'not looked at':>16s}")
    for group in dict.fromkeys(group for group, _ in rows_of):
        shown = (
            f"{right[group, unseen]:4d} of {rows_of[group, unseen]:3d} "
            f"{right[group, unseen] / rows_of[group, unseen]:.2f}"
            for unseen in (False, True)
        )
        print(f"{group:20s}" + "".join(f"{one:>16s}" for one in shown))
    for unseen, name in ((False, "were read"), (True, "not looked at")):
        report_confusion(f"challenge, {name}", pairs[unseen])


def report_confusion(name: str, pairs: Counter[tuple[Severity, Severity | None]]) -> None:
    """Print labels against findings, and precision and recall of red flags."""
    print(f"\n{name:20s}" + "".join(f"{ENGLISH[found]:>14s}" for found in OUTCOMES))
    for label in SEVERITIES:
        counts = "".join(f"{pairs[label, found]:14d}" for found in OUTCOMES)
        print(f"{ENGLISH[label]:20s}{counts}")
    hit = pairs[Severity.CRITICAL, Severity.CRITICAL]
    called = sum(pairs[label, Severity.CRITICAL] for label in SEVERITIES)
    labelled = sum(pairs[Severity.CRITICAL, found] for found in OUTCOMES)
    print(f"red flags: precision {hit / max(called, 1):.3f}, recall {hit / max(labelled, 1):.3f}")


def report_speed(lexicon: Lexicon, sentences: Sequence[str], complaints: int) -> None:
    """Print how many complaints of about `WORDS` words are read in a second of one core."""
    draw = random.Random(0)
    words = [word for sentence in sentences for word in sentence.split()]
    texts = []
    for _ in range(complaints):
        text = draw.choice(sentences)
        while text.count(" ") + 1 < WORDS:
            # Sentences follow each other, with a word here and there that nothing else has.
            text = f"{text} {draw.choice(words)}{draw.choice(words)}. {draw.choice(sentences)}"
        texts.append(" ".join(text.split()[: WORDS + 5]))
    start = time.process_time()
    for text in texts:
        lexicon.read(text)
    seconds = time.process_time() - start
    mean = sum(text.count(" ") + 1 for text in texts) / len(texts)
    print(
        f"\n{complaints:,} complaints of {mean:.1f} words in {seconds:.1f} s of one core: "
        f"{complaints / seconds:,.0f} a second"
    )


def report_labelled(lexicon: Lexicon, labelled: Sequence[Consultation]) -> None:
    """Print what the lexicon says of labelled complaints."""
    pairs: Counter[tuple[Severity, Severity | None]] = Counter()
    start = time.process_time()
    for one in labelled:
        assert one.labelled_severity is not None
        pairs[one.labelled_severity, lexicon.read(one.complaint).severity] += 1
    seconds = time.process_time() - start
    report_confusion(f"{len(labelled)} labelled", pairs)
    right = sum(pairs[one, one] for one in SEVERITIES) + pairs[Severity.NON_CRITICAL, None]
    print(
        f"accuracy, nothing being non-critical: {right / len(labelled):.3f}; "
        f"{len(labelled) / seconds:,.0f} a second, all words new"
    )


if __name__ == "__main__":
    main()
