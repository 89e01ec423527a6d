"""The loss of responses that were not trained on: sums and counts per example."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tarjih.models.load import LoadedModel, pad_token_id
from tarjih.training.collate import WeightedCollator
from tarjih.training.examples import Example
from tarjih.training.head import weighted_forward


def response_losses(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """The summed loss of each example's response and end-of-sequence token.

    Args:
        loaded: the model; it is put into evaluation mode and left in the mode it was in.
        examples: N examples; their weights are not used.
        batch_size: examples in a batch.
        progress: called with the number of examples done since the last call.

    Returns:
        (N,) sums in nats, in the order of the examples. Divide sums of them by sums of their
        `len(response_ids)`: an average of averages would weigh short responses too much.
    """
    collate = WeightedCollator(pad_token_id(loaded.tokenizer))
    by_length = sorted(range(len(examples)), key=lambda index: len(examples[index]))
    sums = np.zeros(len(examples))
    was_training = loaded.model.training
    loaded.model.eval()
    try:
        for start in range(0, len(by_length), batch_size):
            chosen = by_length[start : start + batch_size]
            batch = collate([examples[index] for index in chosen])
            with torch.no_grad():
                losses = weighted_forward(
                    loaded.model, {k: v.to(loaded.device) for k, v in batch.items()}
                )
            per_row = torch.zeros(len(chosen), dtype=torch.float64)
            per_row.index_add_(0, losses.rows.cpu(), losses.token_losses.double().cpu())
            sums[chosen] = per_row.numpy()
            if progress is not None:
                progress(len(chosen))
    finally:
        loaded.model.train(was_training)
    return sums
