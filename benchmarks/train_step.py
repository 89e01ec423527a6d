"""Time and memory of training steps: tarjih, TRL, and the paper's recipe.

    python benchmarks/train_step.py [--model packaged:gemma-3-270m | aragpt2-shape | any model]
        [--steps 4] [--precision auto|float32|bfloat16] [--rounds 3] [--try-steps 4]
        [--paper-steps 1] [--way "1 x 8"] [--precisions]

Every contender trains the same LoRA (rank 16 on all linear layers, dropout 0.05, learning rate
2e-4) on the same examples, eight for each optimizer step, from ../shared/data/pairs_train.csv where
that is present, else from the bundled consultations. Each runs in a process of its own and they
take turns for `--rounds` rounds; ratios of medians are printed. Each passes over the examples twice
and the second pass is timed, from the end of one step to the end of another: the first step does
what is done once (tarjih compares its gradient with the unweighted one there).

- tarjih: `tarjih.training.train.train` at its default settings, severity-weighted (with made-up
  severities: the time does not depend on them).
- TRL: SFTTrainer with completion-only loss, its fused head, no gradient checkpointing, batches
  grouped by length, in tarjih's precision. Not tried: packing (rows of several documents, so not
  eight examples a step; otherwise the same as padding-free), Liger's and the hub's kernels and
  FlashAttention (GPU only), torch.compile (for none of the contenders).
- the paper's recipe: every example padded to 512 tokens, batch 1 x 8 accumulation, full logits,
  loss on every token with prompt and padding, float32. Its cost does not depend on the example, so
  fewer steps do.

With `--precisions` tarjih in bfloat16 against tarjih in float32 is all that is measured.

TRL has several ways to take eight examples (`WAYS` in trainers.py). Each is tried for
`--try-steps` steps first (one pass, all timed), and the fastest takes part; `--way` takes one
without trying.

Peak memory is that of training: the resident set's high-water mark, reset when the model is loaded
(on a GPU torch's own), and how much of it came on top of the loaded model. The loss is that of the
examples' response tokens after training, unweighted and without dropout: it shows that the
contenders learn alike, on other paths (order and weights differ, the paper's recipe learns prompt
and padding too and takes fewer steps).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from aragpt2_shape import NAME as ARAGPT2_SHAPE
from aragpt2_shape import save_aragpt2_shape
from side_by_side import in_child, mebibytes
from trainers import LONGEST, PAPER, PER_STEP, RUNS, SEED, TARJIH, TRL, WAYS, Task
from transformers.utils import logging

from tarjih.data.prompt import PromptSettings
from tarjih.data.read import read_consultations
from tarjih.models.load import ModelSettings, load_tokenizer
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import Consultation, SeverityDistribution
from tarjih.training.examples import Example, encode_consultations

PAIRS = Path(__file__).parents[2] / "shared" / "data" / "pairs_train.csv"


def consultations() -> tuple[str, list[Consultation]]:
    """Where they are from; and all consultations there are, in a fixed random order."""
    source = str(PAIRS) if PAIRS.is_file() else "bundled:consultations"
    found = [row for row in read_consultations(source) if row.response.strip()]
    dice = random.Random(SEED)
    dice.shuffle(found)
    return Path(source).name, [replace(row, probabilities=_severities(dice)) for row in found]


def _severities(dice: random.Random) -> SeverityDistribution:
    shares = [dice.random() for _ in range(3)]
    return SeverityDistribution(*(share / sum(shares) for share in shares))


def encoded(
    rows: Sequence[Consultation], model: str, steps: int
) -> tuple[list[Consultation], list[Example]]:
    """The first consultations that fit the model, enough for `steps`, and their tokens."""
    encoder = PromptEncoder(load_tokenizer(model, ModelSettings()), PromptSettings())
    count = PER_STEP * steps
    found = encode_consultations(
        rows[: 2 * count], encoder, max_tokens=LONGEST, long_responses="drop"
    )
    if len(found.examples) < count:
        raise SystemExit(f"there are only {len(found.examples)} examples: take fewer steps")
    return found.kept[:count], found.examples[:count]


def child(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train as one contender."""
    warnings.simplefilter("ignore")
    rows, examples = encoded(consultations()[1], arguments.model, arguments.steps)
    settings = ModelSettings(precision=arguments.precision)
    task = Task(arguments.model, settings, arguments.steps, arguments.passes, rows, examples)
    name, _, way = arguments.contender.partition(": ")
    return RUNS[name](task, WAYS[name][way])


def run_child(
    arguments: argparse.Namespace,
    contender: str,
    steps: int,
    passes: int,
    precision: str | None = None,
) -> dict[str, Any]:
    """Run a contender in a process of its own; seconds and tokens are given per example."""
    told = {
        "--model": arguments.model,
        "--precision": precision or arguments.precision,
        "--steps": str(steps),
        "--passes": str(passes),
        "--contender": contender,
    }
    result = in_child(__file__, [part for option in told.items() for part in option])
    examples = PER_STEP * steps
    return {
        **result,
        "seconds": result["seconds"] / examples,
        "tokens": result["tokens"] / examples,
    }


def fastest_way(arguments: argparse.Namespace, name: str) -> str:
    """The contender in the way that is fastest in a few steps."""
    if len(WAYS[name]) == 1 or arguments.way:
        return f"{name}: {arguments.way if name == TRL else next(iter(WAYS[name]))}"
    tried = {
        f"{name}: {way}": run_child(arguments, f"{name}: {way}", arguments.try_steps, 1)
        for way in WAYS[name]
    }
    best = min(tried, key=lambda way: float(tried[way]["seconds"]))
    print(f"{arguments.try_steps} steps against the fastest way:")
    for way, result in tried.items():
        print(
            f"  {way:<38}{result['seconds'] / tried[best]['seconds']:6.2f} x time"
            f"{result['peak'] / tried[best]['peak']:7.2f} x peak{result['padding']:8.1%} padding"
            f"   loss {result['loss']:.3f}",
            flush=True,
        )
    return best


def compare(arguments: argparse.Namespace) -> None:
    """Let the contenders take turns and print the ratios of their medians."""
    names = list(WAYS)
    if not find_spec("trl"):
        print(f"{TRL}: not installed (pip install -e '.[benchmarks]')")
        names.remove(TRL)
    steps = {
        fastest_way(arguments, name): arguments.paper_steps if name == PAPER else arguments.steps
        for name in names
    }
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, count in steps.items():
            results[name].append(run_child(arguments, name, count, 2))

    def middle(name: str, key: str) -> float:
        return median(float(result[key]) for result in results[name])

    ours = next(iter(steps))
    print(
        f"{'medians; x: times tarjih':<34}{'time':>12}{'peak':>9}{'on top':>9}{'peak':>12}"
        f"{'on top':>12}{'padding':>9}{'tokens':>8}{'loss':>8}"
    )
    for name in steps:
        print(
            f"{name:<34}{middle(name, 'seconds') / middle(ours, 'seconds'):10.2f} x"
            f"{middle(name, 'peak') / middle(ours, 'peak'):7.2f} x"
            f"{middle(name, 'extra') / middle(ours, 'extra'):7.2f} x"
            f"{mebibytes(middle(name, 'peak')):>12}{mebibytes(middle(name, 'extra')):>12}"
            f"{middle(name, 'padding'):9.1%}{middle(name, 'tokens'):8.1f}"
            f"{middle(name, 'loss'):8.3f}"
        )


def compare_precisions(arguments: argparse.Namespace) -> None:
    """Let tarjih take turns with itself in another precision."""
    results: dict[str, list[dict[str, Any]]] = {"float32": [], "bfloat16": []}
    for _ in range(arguments.rounds):
        for precision, found in results.items():
            found.append(run_child(arguments, f"{TARJIH}: 8", arguments.steps, 2, precision))
    medians = {
        precision: {key: median(float(one[key]) for one in found) for key in found[0]}
        for precision, found in results.items()
    }
    against = medians["float32"]
    for precision, middle in medians.items():
        print(
            f"{precision:<12}{middle['seconds'] / against['seconds']:6.2f} x time"
            f"{middle['peak'] / against['peak']:7.2f} x peak   loss {middle['loss']:.4f}"
        )


def main() -> None:
    """Compare, or be one contender."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="packaged:gemma-3-270m")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--try-steps", type=int, default=4)
    parser.add_argument("--paper-steps", type=int, default=1)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=tuple(WAYS[TRL]), help="how TRL takes eight examples")
    parser.add_argument("--precisions", action="store_true", help="bfloat16 against float32")
    parser.add_argument("--passes", type=int, default=2, help=argparse.SUPPRESS)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if arguments.contender:
        print(json.dumps(child(arguments)))
        return
    source, rows = consultations()
    most = PER_STEP * max(arguments.steps, arguments.try_steps, arguments.paper_steps)
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"{arguments.model}, {arguments.precision}, {most} examples of {source}, "
            f"{torch.get_num_threads()} threads, {arguments.rounds} rounds"
        )
        if arguments.model == ARAGPT2_SHAPE:
            unused = rows[2 * most :]
            save_aragpt2_shape(Path(folder), (f"{r.complaint}\n{r.response}" for r in unused))
            arguments.model = folder
        (compare_precisions if arguments.precisions else compare)(arguments)


if __name__ == "__main__":
    main()
