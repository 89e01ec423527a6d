"""Batches of similar length, and how examples become tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from tarjih.training.examples import Example

IGNORED = -100
# Examples are sorted by length within pools of this many batches: wide enough for little padding,
# narrow enough that the batches of an epoch differ from those of the next.
_POOL_BATCHES = 50


class LengthBucketedSampler(Sampler[int]):
    """Indices in an order that puts examples of similar length into one batch.

    The order depends on the seed and the epoch and on nothing else, so that a resumed run sees the
    batches that it would have seen.

    Args:
        lengths: tokens of each example.
        batch_size: examples in a batch.
        seed: any integer.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; the data loader calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        pool = self.batch_size * _POOL_BATCHES
        batches = []
        for start in range(0, len(order), pool):
            part = sorted(order[start : start + pool], key=lambda index: -self.lengths[index])
            batches += [
                part[at : at + self.batch_size] for at in range(0, len(part), self.batch_size)
            ]
        # The one short batch stays last: the loader cuts the stream of indices, not our batches.
        last = [batches.pop()] if batches and len(batches[-1]) < self.batch_size else []
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        for batch in [*(batches[index] for index in shuffled), *last]:
            yield from batch


class WeightedCollator:
    """Pads examples on the right and marks the response tokens as supervised.

    Labels and masks come from lengths, never from token ids, so that a padding token that equals
    the end-of-sequence token hides nothing.

    Args:
        pad_id: the token that fills short rows.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """A batch of B examples, T tokens wide.

        Returns:
            input_ids, attention_mask and labels, each (B, T) int64, labels -100 where a token is
            not supervised; weights (B,) float32.
        """
        width = max(len(example) for example in examples)
        shape = (len(examples), width)
        input_ids = torch.full(shape, self.pad_id, dtype=torch.int64)
        labels = torch.full(shape, IGNORED, dtype=torch.int64)
        attention_mask = torch.zeros(shape, dtype=torch.int64)
        for row, example in enumerate(examples):
            start, end = len(example.prompt_ids), len(example)
            input_ids[row, :end] = torch.tensor(example.prompt_ids + example.response_ids)
            labels[row, start:end] = input_ids[row, start:end]
            attention_mask[row, :end] = 1
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "labels": labels,
            "weights": torch.tensor([example.weight for example in examples]),
        }


def padding_share(lengths: Sequence[int], order: Sequence[int], batch_size: int) -> float:
    """The share of padding tokens when `lengths` are batched in `order`, from 0 to 1."""
    padded = 0
    for start in range(0, len(order), batch_size):
        batch = [lengths[index] for index in order[start : start + batch_size]]
        padded += max(batch) * len(batch)
    return 1.0 - sum(lengths) / padded
