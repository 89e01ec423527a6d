"""Consultations as token ids, ready for training; checked before any model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tarjih.errors import DataError
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import Consultation, Severity

LongResponses = Literal["stop", "drop"]
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: prompt and response tokens, its weight, and for curves its severity."""

    prompt_ids: list[int]
    response_ids: list[int]
    weight: float = 1.0
    severity: Severity | None = None

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True)
class EncodedConsultations:
    """Examples of the consultations that fit, with what was shortened or left out."""

    examples: list[Example]
    kept: list[Consultation]
    truncated_complaints: int
    dropped_long_responses: int

    @property
    def supervised_tokens(self) -> NDArray[np.int64]:
        """(N,) response tokens of each example, the end-of-sequence token included."""
        return np.array([len(example.response_ids) for example in self.examples], dtype=np.int64)


def encode_consultations(
    consultations: Sequence[Consultation],
    encoder: PromptEncoder,
    *,
    max_tokens: int,
    long_responses: LongResponses,
) -> EncodedConsultations:
    """Encode consultations in at most `max_tokens` tokens each.

    A long complaint loses its end; a response and its end-of-sequence token are never shortened.

    Raises:
        DataError: when a response does not fit and `long_responses` is `stop`, naming the rows;
            when a response is empty; or when nothing is left.
    """
    shortest_prompt = len(encoder.prompt("").ids)
    examples: list[Example] = []
    kept: list[Consultation] = []
    too_long: list[tuple[str, int]] = []
    truncated = 0
    for consultation in consultations:
        if not consultation.response.strip():
            raise DataError(
                f"consultation {consultation.id} has no response to learn from",
                remedy="run tarjih prepare on the data: it leaves such rows out and says so",
            )
        response = encoder.response(consultation.response)
        if len(response) + shortest_prompt > max_tokens:
            too_long.append((consultation.id, len(response) + shortest_prompt))
            continue
        prompt = encoder.prompt(consultation.complaint, max_tokens - len(response))
        truncated += prompt.dropped_tokens > 0
        examples.append(Example(prompt.ids, response, severity=consultation.severity))
        kept.append(consultation)
    if too_long and long_responses == "stop":
        raise _too_long(too_long, max_tokens)
    if not examples:
        raise DataError(
            "there is no example to learn from",
            remedy="check the data file and max_tokens",
        )
    return EncodedConsultations(examples, kept, truncated, len(too_long))


def _too_long(rows: list[tuple[str, int]], max_tokens: int) -> DataError:
    shown = ", ".join(f"{name} ({tokens} tokens)" for name, tokens in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return DataError(
        f"{len(rows)} responses are longer than max_tokens = {max_tokens} with the shortest "
        f"prompt: {shown}{more}",
        remedy=f"set training.max_tokens={max(tokens for _, tokens in rows)} to keep them, or "
        "training.long_responses=drop to leave them out; responses are never cut",
    )
