"""An encoder with a classification head: token ids in, three logits out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tarjih.records import SEVERITIES
from tarjih.severity.encoder.settings import EncoderSettings
from tarjih.severity.encoder.texts import prepare_text

_HEAD_DROPOUT = 0.1


class SeverityClassifier(nn.Module):
    """An encoder with the head that its architecture has, or with one on the mean of its vectors.

    Args:
        encoder: a Transformers model; for sequence classification, unless there is a `head`.
        head: takes the mean of the encoder's last vectors over a text's tokens.
    """

    def __init__(self, encoder: Any, head: nn.Linear | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(_HEAD_DROPOUT)
        self.head = head

    @classmethod
    def averaging(cls, encoder: Any) -> SeverityClassifier:
        """With a new head on the mean; its weights come from torch's random numbers."""
        return cls(encoder, nn.Linear(int(encoder.config.hidden_size), len(SEVERITIES)))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(b, 3), of token ids (b, t) and a mask (b, t): 1 for a token, 0 for padding."""
        out = self.encoder(input_ids=tokens, attention_mask=mask)
        if self.head is None:
            logits: Tensor = out.logits
            return logits
        kept = mask.unsqueeze(-1).to(out.last_hidden_state.dtype)
        mean = (out.last_hidden_state * kept).sum(dim=1) / kept.sum(dim=1)
        averaged: Tensor = self.head(self.dropout(mean))
        return averaged

    @property
    def body(self) -> Any:
        """All below the classification head."""
        return self.encoder if self.head is not None else self.encoder.base_model

    def freeze(self, what: str) -> None:
        """Keep the pretrained weights of the `embeddings` or of the whole `body`, or of `none`.

        A pooler whose result nothing reads is no part of what is trained either.
        """
        if self.head is not None:
            for name, parameter in self.encoder.named_parameters():
                if "pooler." in name:
                    parameter.requires_grad_(False)
        if what == "embeddings":
            embeddings = getattr(self.body, "embeddings", None) or self.body.get_input_embeddings()
            embeddings.requires_grad_(False)
        elif what == "body":
            self.body.requires_grad_(False)

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that are not frozen, by name."""
        return {name: one for name, one in self.named_parameters() if one.requires_grad}

    def of_body(self, name: str) -> bool:
        """Whether a parameter is the pretrained part's, and not the classification head's."""
        if self.head is not None:
            return name.startswith("encoder.")
        return name.startswith(f"encoder.{self.encoder.base_model_prefix}.")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedEncoder:
    """A classifier with its tokenizer, and what its pretrained weights are known by.

    Attributes:
        weights: the SHA-256 of a folder's weights, or the hub's commit.
    """

    classifier: SeverityClassifier
    tokenizer: Any
    weights: str
    device: torch.device

    def tokens(self, complaints: Sequence[str], settings: EncoderSettings) -> list[list[int]]:
        """Token ids of each complaint, at least one, at most `settings.max_tokens`."""
        texts = [prepare_text(complaint, settings.text_form) for complaint in complaints]
        if not texts:
            return []
        found = self.tokenizer(texts, truncation=True, max_length=settings.max_tokens)["input_ids"]
        return [list(ids) or [self.padding] for ids in found]

    @property
    def padding(self) -> int:
        """The id that fills short rows."""
        return int(self.tokenizer.pad_token_id)


def pad(rows: Sequence[Sequence[int]], padding: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows padded on the right to the longest: token ids (b, t), and the mask (b, t)."""
    longest = max(len(row) for row in rows)
    tokens = torch.full((len(rows), longest), padding)
    mask = torch.zeros_like(tokens)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return tokens.to(device), mask.to(device)


def batches_by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """All rows once, longest first, in batches of at most `tokens` tokens with their padding.

    A longer row is a batch of its own. The longest come first, so that what does not fit into
    memory fails at once.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        count = max(1, tokens // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count
