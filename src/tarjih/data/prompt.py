"""The one place where a complaint becomes a prompt: for training, generation and chat alike.

A prompt is made of text that we wrote (the template) and of text that a patient wrote. The two are
told apart until they are tokens, so that `<eos>` typed by a patient stays seven characters and so
that only the complaint is shortened when a prompt is too long.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tarjih.settings import Settings

_SLOT = "{complaint}"
# "as-su'al: {complaint} \n al-ijaba:" (question, answer)
_DEFAULT_TEMPLATE = (
    "\u0627\u0644\u0633\u0624\u0627\u0644: {complaint}\n\u0627\u0644\u0625\u062c\u0627\u0628\u0629:"
)


class PromptSettings(Settings):
    """How a complaint is put to the model."""

    template: str = Field(
        default=_DEFAULT_TEMPLATE,
        description="text with one {complaint}; the response follows it after one blank",
    )

    @model_validator(mode="after")
    def _one_slot(self) -> Self:
        if self.template.count(_SLOT) != 1:
            raise ValueError(f"the template must hold {_SLOT} exactly once")
        if self.template.endswith((" ", "\n")):
            raise ValueError(
                "the template must not end with a blank: the response brings its own, and "
                "tokenisers read two blanks differently"
            )
        return self


def prompt_parts(settings: PromptSettings) -> tuple[str, str]:
    """The template's text before and after the complaint."""
    before, after = settings.template.split(_SLOT)
    return before, after


def render_response(response: str) -> str:
    """The response as it follows the prompt: after one blank."""
    return f" {response.strip()}"
