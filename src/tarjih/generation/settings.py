"""Settings of generation."""

from __future__ import annotations

from pydantic import Field

from tarjih.settings import Settings


class GenerationSettings(Settings):
    """How answers are generated."""

    max_new_tokens: int = Field(default=128, ge=1, description="longest answer, in tokens")
    max_prompt_tokens: int = Field(
        default=384, ge=16, description="longest prompt; a longer complaint loses its end; tokens"
    )
    batch_size: int = Field(default=16, ge=1, description="complaints answered at once")
    temperature: float = Field(
        default=0.0, ge=0, description="0: greedy, the same answer every time; above: sampling"
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="sample among the likeliest tokens of this mass"
    )
    repetition_penalty: float = Field(
        default=1.0,
        ge=1,
        description="tokens that were there already, in the prompt too, become this much less "
        "likely (arXiv 1909.05858); 1: none",
    )
    seed: int = Field(default=1, description="of the sampling; greedy answers do not depend on it")
