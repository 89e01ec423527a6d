"""How much faster complaints are answered in batches than one at a time.

    python benchmarks/generate.py [--model packaged:gemma-3-270m] [--batch-size 16]
        [--complaints 32] [--new-tokens 64] [--precision float32|bfloat16|auto] [--rounds 3]

Greedy answers to complaints of the bundled test split through `tarjih.generation`, batched as
`tarjih generate` does it (left-padded, sorted by length), against batches of one; interleaved, the
ratio of medians is printed. Also whether the answers are the same: in float32 they should be; in
bfloat16 rounding depends on the batch, and near-equal tokens may swap. A batch goes on until its
last answer ends: the share of rows that only wait is printed too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from side_by_side import median_seconds

from tarjih.data.prepare import prepare
from tarjih.data.read import read_consultations
from tarjih.data.summary import PrepareSettings
from tarjih.generation.answer import Answer, answer_batch
from tarjih.generation.settings import GenerationSettings
from tarjih.generation.source import base_model
from tarjih.models.load import LoadedModel, ModelSettings
from tarjih.models.prompt_tokens import PromptEncoder


def complaints(count: int) -> list[str]:
    """Complaints of the bundled test split, short ones first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "prepared"
        prepare(["bundled:consultations"], folder, PrepareSettings())
        found = [row.complaint for row in read_consultations(folder / "test.parquet")]
    if len(found) < count:
        raise SystemExit(f"the test split has {len(found)} complaints only")
    return sorted(found[:count], key=len)


def answers(
    loaded: LoadedModel, encoder: PromptEncoder, texts: Sequence[str], settings: GenerationSettings
) -> list[Answer]:
    """Answers in the order of the complaints."""
    size = settings.batch_size
    return [
        answer
        for start in range(0, len(texts), size)
        for answer in answer_batch(
            loaded, encoder, texts[start : start + size], settings, seed=settings.seed
        )
    ]


def waiting_share(found: Sequence[Answer], size: int) -> float:
    """The share of generated positions that belong to answers that have ended already."""
    batches = [found[start : start + size] for start in range(0, len(found), size)]
    held = sum(max(answer.new_tokens for answer in batch) * len(batch) for batch in batches)
    return 1 - sum(answer.new_tokens for answer in found) / held


def main() -> None:
    """Answer both ways, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="packaged:gemma-3-270m")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--complaints", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--precision", choices=("float32", "bfloat16", "auto"), default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    texts = complaints(arguments.complaints)
    source = base_model(arguments.model, settings=ModelSettings(precision=arguments.precision))
    loaded, encoder = source.load()
    found: dict[int, list[Answer]] = {}

    def answer(size: int) -> None:
        settings = GenerationSettings(batch_size=size, max_new_tokens=arguments.new_tokens)
        found[size] = answers(loaded, encoder, texts, settings)

    sizes = {"batched": arguments.batch_size, "one": 1}
    seconds = median_seconds(
        {name: lambda size=size: answer(size) for name, size in sizes.items()},  # type: ignore[misc]
        arguments.rounds,
    )
    batched, single = found[arguments.batch_size], found[1]
    differing = sum(a.text != b.text for a, b in zip(batched, single, strict=True))
    print(
        f"{arguments.model}, {loaded.model.dtype}, {loaded.device.type}, "
        f"{torch.get_num_threads()} threads; {len(texts)} complaints, "
        f"{sum(a.new_tokens for a in single) / len(single):.1f} new tokens each (of at most "
        f"{arguments.new_tokens}), {sum(a.stopped for a in single)} stopped by themselves"
    )
    print(f"batches of {arguments.batch_size}: {seconds['one'] / seconds['batched']:.2f} x as fast")
    print(f"answers that differ: {differing} of {len(texts)}")
    print(f"rows that only wait: {waiting_share(batched, arguments.batch_size):.1%}")


if __name__ == "__main__":
    main()
