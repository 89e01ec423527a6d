"""Rows of different lengths in one pass without padding.

A batch's rows are laid end to end, and only attention needs to know where one ends and the next
begins: it is computed row by row, by the same kernel as before. Everything else in the supported
architectures treats each token by itself. Not among them: short convolutions (LFM2), which read
their neighbours, and ALiBi (BLOOM), whose distances are those of the batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

ROW_LENGTHS = "row_lengths"
_ATTENTION = "tarjih_row_by_row"
# Each is proved against padded batches in the tests.
_ARCHITECTURES = ("gemma3_text", "gpt2", "llama", "qwen2", "qwen3")


def enable_packing(model: Any) -> bool:
    """Let a model take packed batches beside the usual ones.

    Args:
        model: the causal language model itself, without what is wrapped around it.

    Returns:
        Whether it can: its architecture is supported, and nobody chose an attention kernel for it.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    if not can_pack(model.config) or model.config._attn_implementation not in ("sdpa", _ATTENTION):
        return False
    AttentionInterface.register(_ATTENTION, _attend_row_by_row)
    AttentionMaskInterface.register(_ATTENTION, _mask)
    model.set_attn_implementation(_ATTENTION)
    return True


def can_pack(config: Any) -> bool:
    """Whether a model of this configuration can take packed batches with its usual attention."""
    return config.model_type in _ARCHITECTURES


def _mask(**kwargs: Any) -> Tensor | None:
    from transformers.masking_utils import sdpa_mask

    # Packed, or a single row: no mask of all tokens against all is needed.
    return None if kwargs["attention_mask"] is None else sdpa_mask(**kwargs)


def _attend_row_by_row(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    row_lengths: list[int] | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of (1, heads, N, D) laid end to end, or of a padded batch with its mask."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if attention_mask is not None or query.shape[2] != key.shape[2]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    attended, start = [], 0
    for length in row_lengths or [query.shape[2]]:
        q, k, v = (tensor.narrow(2, start, length) for tensor in (query, key, value))
        window = _window(length, sliding_window, query.device)
        attended.append(sdpa_attention_forward(module, q, k, v, window, **kwargs)[0])
        start += length
    return torch.cat(attended, dim=1), None


def _window(length: int, width: int | None, device: torch.device) -> Tensor | None:
    """What a row's tokens see of the row, (1, 1, T, T); None where that is all before them."""
    if width is None or length <= width:
        return None
    ones = torch.ones(length, length, dtype=torch.bool, device=device)
    return (ones.tril() & ones.triu(1 - width))[None, None]


def pack(batch: dict[str, Any]) -> dict[str, Any]:
    """Lay the rows of a batch that is padded on the right end to end.

    Args:
        batch: input_ids, attention_mask and labels (B, T), and what is kept for each example (B,).

    Returns:
        input_ids, position_ids and labels, each (1, N) without padding; `row_lengths`, B numbers;
        what is of examples, unchanged. The first token of each row is no longer supervised, as
        nothing of its row could predict it.
    """
    real = batch["attention_mask"].bool()
    lengths = real.sum(dim=1)
    labels = batch["labels"].clone()
    labels[:, 0] = -100
    positions = torch.arange(real.shape[1], device=real.device).expand_as(real)
    return {
        "input_ids": batch["input_ids"][real][None],
        "position_ids": positions[real][None],
        "labels": labels[real][None],
        ROW_LENGTHS: lengths.tolist(),
        **{name: tensor for name, tensor in batch.items() if tensor.ndim == 1},
    }
