"""Token ids as texts that a person can read, each with the tokens that make it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.training.examples import Example

_UNFINISHED = "\ufffd"  # REPLACEMENT CHARACTER: what half of a character decodes to


class Part(StrEnum):
    """What a token is to the trainer. Only response and end tokens are supervised."""

    PROMPT = "prompt"
    DROPPED = "dropped"
    RESPONSE = "response"
    END = "end"


@dataclass(frozen=True, slots=True)
class Piece:
    """The shortest text that whole tokens make; several tokens where one is no whole character.

    Attributes:
        text: what the tokens decode to after those before them.
        ids: the tokens.
        part: what they are to the trainer.
        position: of the first of them in the example, from 0; None where they were dropped.
    """

    text: str
    ids: tuple[int, ...]
    part: Part
    position: int | None

    @property
    def supervised(self) -> bool:
        """Whether the loss is taken on these tokens."""
        return self.part in {Part.RESPONSE, Part.END}


def decoded(
    tokenizer: Any, ids: Sequence[int], borders: Collection[int] = ()
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Texts and their tokens; joined, the texts are what all ids decode to.

    Args:
        tokenizer: a Transformers tokenizer.
        ids: token ids.
        borders: positions at which a text ends in any case, counted in tokens from the start.
    """
    context = start = 0
    for end in range(1, len(ids) + 1):
        # Decoded after the piece before: what a token is may depend on what it follows (a blank
        # that SentencePiece removes at the beginning of a text and nowhere else).
        before = _decode(tokenizer, ids[context:start])
        text = _decode(tokenizer, ids[context:end])
        if not text.endswith(_UNFINISHED) or end in borders or end == len(ids):
            yield text[len(before) :], tuple(ids[start:end])
            context, start = start, end


def pieces_of(
    example: Example, complaint: str, encoder: PromptEncoder, after: str
) -> tuple[Piece, ...]:
    """An example in pieces; what was cut from the complaint stands where it would have been.

    Args:
        example: the example that was made of the complaint.
        complaint: the whole complaint.
        encoder: what encoded it.
        after: the template's text after the complaint.
    """
    ids = [*example.prompt_ids, *example.response_ids]
    borders = (len(example.prompt_ids), len(ids) - 1)
    pieces: list[Piece] = []
    position = 0
    for text, tokens in decoded(encoder.tokenizer, ids, borders):
        part = Part.PROMPT if position < borders[0] else Part.RESPONSE
        pieces.append(Piece(text, tokens, Part.END if position == borders[1] else part, position))
        position += len(tokens)
    whole = encoder.prompt(complaint).ids
    return (
        tuple(pieces)
        if whole == example.prompt_ids
        else _with_dropped(pieces, list(decoded(encoder.tokenizer, whole)), len(after))
    )


def _with_dropped(
    pieces: list[Piece], whole: list[tuple[str, tuple[int, ...]]], after: int
) -> tuple[Piece, ...]:
    """Put what the uncut prompt `whole` has more, before its last `after` characters, in place."""
    kept = sum(len(piece.text) for piece in pieces if piece.part is Part.PROMPT) - after
    end = sum(len(text) for text, _ in whole) - after
    dropped: list[Piece] = []
    at = 0
    for text, tokens in whole:
        if at + len(text) > kept and at < end:
            missing = text[max(0, kept - at) : end - at]
            dropped.append(Piece(missing, tokens, Part.DROPPED, None))
        at += len(text)
    place = at = 0
    while at < kept:
        at += len(pieces[place].text)
        place += 1
    return (*pieces[:place], *dropped, *pieces[place:])


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    if not ids:
        return ""
    return str(
        tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    )
