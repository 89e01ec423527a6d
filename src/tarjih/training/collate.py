"""How examples become tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tarjih.records import SEVERITIES
from tarjih.training.examples import Example

IGNORED = -100
UNKNOWN_SEVERITY = len(SEVERITIES)
# What the loss needs beside what the model reads.
FOR_THE_LOSS = ("labels", "weights", "severities")
_EMPTY_WIDTH = 2


class WeightedCollator:
    """Pads examples on the right and marks the response tokens as supervised.

    Labels and masks come from lengths, never from token ids, so that a padding token that equals
    the end-of-sequence token hides nothing.

    Args:
        pad_id: the token that fills short rows.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, examples: Sequence[Example | Mapping[str, Any]]) -> dict[str, Tensor]:
        """A batch of B examples, T tokens wide.

        Args:
            examples: ours, or mappings with `input_ids`, `labels` (-100 where a token is not
                supervised), and, where they differ from 1 and unknown, `weight` and `severity`
                (an index of `tarjih.records.SEVERITIES`). None at all gives a batch without
                supervised tokens: what a rank gets when the others have the last examples.

        Returns:
            input_ids, attention_mask and labels, each (B, T) int64, labels -100 where a token is
            not supervised; weights (B,) float32; severities (B,) int64.

        Raises:
            ValueError: when the labels of an example are not as many as its tokens.
        """
        rows = [_features(example) for example in examples]
        width = max((len(row["input_ids"]) for row in rows), default=_EMPTY_WIDTH)
        shape = (max(len(rows), 1), width)
        input_ids = torch.full(shape, self.pad_id, dtype=torch.int64)
        labels = torch.full(shape, IGNORED, dtype=torch.int64)
        attention_mask = torch.zeros(shape, dtype=torch.int64)
        for index, row in enumerate(rows):
            end = len(row["input_ids"])
            if len(row["labels"]) != end:
                raise ValueError(
                    f"an example has {end} input_ids but {len(row['labels'])} labels; give each "
                    "token a label, -100 for those that are not supervised"
                )
            input_ids[index, :end] = torch.as_tensor(row["input_ids"])
            labels[index, :end] = torch.as_tensor(row["labels"])
            attention_mask[index, :end] = 1
        if not rows:
            attention_mask[:] = 1  # a row that sees nothing at all has no softmax
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "labels": labels,
            "weights": torch.tensor([float(row.get("weight", 1.0)) for row in rows] or [0.0]),
            "severities": torch.tensor(
                [int(row.get("severity", UNKNOWN_SEVERITY)) for row in rows] or [UNKNOWN_SEVERITY]
            ),
        }


def _features(example: Example | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(example, Example):
        return example
    severity = example.severity
    return {
        "input_ids": [*example.prompt_ids, *example.response_ids],
        "labels": [IGNORED] * len(example.prompt_ids) + example.response_ids,
        "weight": example.weight,
        "severity": UNKNOWN_SEVERITY if severity is None else SEVERITIES.index(severity),
    }


class WeightsBeside:
    """Another library's collator, with the examples' `weight` put beside what it makes.

    Args:
        collate: gets the examples without their `weight`.
    """

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self.collate = collate

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The other collator's batch, and `weights` (B,) float32.

        Raises:
            KeyError: when an example has no `weight`: a default of 1 would hide a lost column.
        """
        batch = self.collate([{k: v for k, v in row.items() if k != "weight"} for row in examples])
        batch["weights"] = torch.tensor([float(row["weight"]) for row in examples])
        return batch
