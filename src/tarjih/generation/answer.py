"""The generation itself: prompts in, answers out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tarjih.generation.settings import GenerationSettings
from tarjih.models.load import LoadedModel, pad_token_id
from tarjih.models.prompt_tokens import PromptEncoder


@dataclass(frozen=True, slots=True)
class Answer:
    """A generated answer; `stopped` says that the model ended it by itself."""

    text: str
    new_tokens: int
    stopped: bool


def answer_batch(
    loaded: LoadedModel,
    encoder: PromptEncoder,
    complaints: Sequence[str],
    settings: GenerationSettings,
    *,
    seed: int,
) -> list[Answer]:
    """Answer complaints as one batch.

    Prompts are padded on the left, so that every answer follows its own prompt directly; position
    ids follow the mask.

    Args:
        loaded: the model, in evaluation mode.
        encoder: the prompt encoder that the model was trained with.
        complaints: B complaints.
        settings: lengths and sampling.
        seed: of the sampling of this batch.
    """
    prompts = [encoder.prompt(text, settings.max_prompt_tokens).ids for text in complaints]
    width = max(len(ids) for ids in prompts)
    pad = pad_token_id(loaded.tokenizer)
    input_ids = torch.full((len(prompts), width), pad, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(prompts):
        input_ids[row, width - len(ids) :] = torch.tensor(ids)
        attention_mask[row, width - len(ids) :] = 1
    output = _generate(loaded, input_ids, attention_mask, encoder.end_id, pad, settings, seed)
    return [_cut(encoder, row) for row in output[:, width:].tolist()]


def _generate(
    loaded: LoadedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    end_id: int,
    pad: int,
    settings: GenerationSettings,
    seed: int,
) -> torch.Tensor:
    from transformers import GenerationConfig, RepetitionPenaltyLogitsProcessor

    sampling: dict[str, Any] = {"do_sample": False}
    if settings.temperature > 0:
        sampling = {
            "do_sample": True,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": 0,
        }
    # A model folder may bring settings of its own (repetition_penalty, num_beams); `generate` would
    # take from there whatever ours leaves open, so the model's are replaced, not only overruled.
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=settings.max_new_tokens,
        eos_token_id=end_id,
        pad_token_id=pad,
        **sampling,
    )
    # `generate` would penalise the padding too, which is the end token where a tokenizer has no
    # other: the shorter a prompt beside its neighbours, the less would its answer end.
    penalty = RepetitionPenaltyLogitsProcessor(
        settings.repetition_penalty,
        prompt_ignore_length=(attention_mask == 0).sum(dim=1),
    )
    loaded.model.generation_config = config
    torch.manual_seed(seed)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        output: torch.Tensor = loaded.model.generate(
            input_ids=input_ids.to(loaded.device),
            attention_mask=attention_mask.to(loaded.device),
            generation_config=config,
            logits_processor=[penalty] if settings.repetition_penalty > 1 else [],
        )
    return output.cpu()


def _cut(encoder: PromptEncoder, ids: list[int]) -> Answer:
    """What comes before the end token; what follows it is padding."""
    stopped = encoder.end_id in ids
    kept = ids[: ids.index(encoder.end_id)] if stopped else ids
    return Answer(text=encoder.decode(kept), new_tokens=len(kept) + stopped, stopped=stopped)
