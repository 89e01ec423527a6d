"""From complaint and response to token ids, the same way in training and in generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tarjih.data.prompt import PromptSettings, prompt_parts, render_response
from tarjih.errors import ModelError


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """Token ids of a prompt, and how many tokens of the complaint had to go."""

    ids: list[int]
    dropped_tokens: int


class PromptEncoder:
    """Turns complaints and responses into token ids.

    The prompt and the response are tokenised apart and joined as ids, so that the prompt of
    training is the prompt of generation, token for token. What a patient or a doctor wrote cannot
    become a special token.

    Args:
        tokenizer: a Transformers tokenizer with an end-of-sequence token.
        settings: the prompt's template.
    """

    def __init__(self, tokenizer: Any, settings: PromptSettings) -> None:
        self.tokenizer = tokenizer
        before, after = prompt_parts(settings)
        self._beginning = _beginning_ids(tokenizer)
        self._before = before
        self._after = after
        self.end_id = int(tokenizer.eos_token_id)

    def prompt(self, complaint: str, longest: int | None = None) -> EncodedPrompt:
        """Encode a prompt in at most `longest` tokens, shortening the complaint from its end.

        Raises:
            ModelError: when not even an empty complaint would fit.
        """
        ids = self._encode_prompt(complaint)
        if longest is None or len(ids) <= longest:
            return EncodedPrompt(ids, 0)
        whole = self._text_ids(complaint)
        kept, excess = len(whole), len(ids) - longest
        while kept > 0:
            kept = max(0, kept - excess)
            shorter = self._encode_prompt(self._decode_beginning(whole[:kept]))
            excess = len(shorter) - longest
            if excess <= 0:
                return EncodedPrompt(shorter, len(ids) - len(shorter))
        raise ModelError(
            f"the prompt's template alone takes more than {longest} tokens",
            remedy="raise max_tokens, or shorten prompt.template",
        )

    def response(self, response: str) -> list[int]:
        """Encode a response and the end-of-sequence token that follows it."""
        return [*self._text_ids(render_response(response)), self.end_id]

    def decode(self, ids: list[int]) -> str:
        """Token ids of an answer -> text, without special tokens and surrounding blanks."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def _decode_beginning(self, ids: list[int]) -> str:
        # A character of several tokens may be cut in its middle; what is left of it goes too.
        return str(self.tokenizer.decode(ids)).rstrip("\ufffd").strip() if ids else ""

    def _encode_prompt(self, complaint: str) -> list[int]:
        return self._beginning + self._text_ids(f"{self._before}{complaint.strip()}{self._after}")

    def _text_ids(self, text: str) -> list[int]:
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return [int(token) for token in ids]


def _beginning_ids(tokenizer: Any) -> list[int]:
    """The begin token where this tokenizer puts one before every text, else nothing."""
    bos = tokenizer.bos_token_id
    marked = tokenizer.encode("a")
    return [int(bos)] if bos is not None and marked and marked[0] == bos else []
