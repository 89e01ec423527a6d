"""What a training run would see, without its model: a few examples and the whole in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tarjih.data.prompt import prompt_parts
from tarjih.models.load import chosen_hardware, load_tokenizer, read_config
from tarjih.models.packing import can_pack
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import Consultation, WeightSpread
from tarjih.training.batches import Passes
from tarjih.training.examples import Example
from tarjih.training.job import TrainingJob
from tarjih.training.pieces import Piece, pieces_of
from tarjih.training.settings import TrainingSettings
from tarjih.training.weighed import WeighedExamples, weigh_examples
from tarjih.weighting import Floats, Weighting, flatness_warning


@dataclass(frozen=True)
class PreviewedExample:
    """One example as the trainer sees it.

    Attributes:
        consultation: what it was made of.
        weight: what its supervised tokens' losses are multiplied by.
        rank: its place by weight, 1 for the lowest; equal weights stand in the order of the data.
        prompt_tokens: unsupervised tokens.
        supervised_tokens: tokens of the response, the end-of-sequence token included.
        dropped_tokens: tokens by which the prompt was shortened to fit.
        pieces: all its tokens, and the dropped ones in their place.
    """

    consultation: Consultation
    weight: float
    rank: int
    prompt_tokens: int
    supervised_tokens: int
    dropped_tokens: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Preview:
    """A training set in numbers, and a few of its examples.

    Lengths are in tokens; `padding_share` is from 0 to 1; `left_out` names the
    consultations whose responses are too long; `flatness` is a warning or None.
    """

    model: str
    weighting: Weighting
    training: TrainingSettings
    examples: int
    supervised_tokens: int
    mean_prompt: float
    mean_response: float
    longest: int
    padding_share: float
    truncated_complaints: int
    left_out: tuple[str, ...]
    spread: WeightSpread
    flatness: str | None
    shown: tuple[PreviewedExample, ...]


def preview(job: TrainingJob, count: int = 3) -> Preview:
    """Encode and weigh the training set of a run, and take `count` examples apart.

    The examples are spread evenly over the order of weights, lowest and highest first; one more
    is shown when complaints were shortened and none of these is such a one.

    Raises:
        DataError, SettingsError: as training would, see `weigh_examples`.
        ModelError: when there is no usable tokenizer.
    """
    encoder = PromptEncoder(load_tokenizer(job.model, job.model_settings), job.prompt)
    weighed = weigh_examples(
        job.train, encoder, weighting=job.weighting, training=job.training, seed=job.seed
    )
    encoded = weighed.encoded
    kept = {id(consultation) for consultation in encoded.kept}
    passes = Passes.on(
        chosen_hardware(job.model_settings)["device"],
        processes=1,
        packed=can_pack(read_config(job.model, job.model_settings)),
    )
    prompts = [len(example.prompt_ids) for example in encoded.examples]
    return Preview(
        model=job.model,
        weighting=job.weighting,
        training=job.training,
        examples=len(encoded.examples),
        supervised_tokens=int(encoded.supervised_tokens.sum()),
        mean_prompt=float(np.mean(prompts)),
        mean_response=float(encoded.supervised_tokens.mean()),
        longest=max(len(example) for example in encoded.examples),
        padding_share=weighed.padding_share(job.training, job.seed, passes),
        truncated_complaints=encoded.truncated_complaints,
        left_out=tuple(one.id for one in job.train if id(one) not in kept),
        spread=weighed.spread,
        flatness=flatness_warning(weighed.spread, job.weighting),
        shown=_shown(weighed, encoder, prompt_parts(job.prompt)[1], count),
    )


def spread_over(weights: Floats, count: int) -> list[int]:
    """Indices of `count` examples, evenly spread over the order of weights; one is the middle."""
    order = np.argsort(weights, kind="stable")
    if count == 1:
        return [int(order[(len(order) - 1) // 2])]
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return [int(order[round(place)]) for place in places]


def _shown(
    weighed: WeighedExamples, encoder: PromptEncoder, after: str, count: int
) -> tuple[PreviewedExample, ...]:
    examples, kept = weighed.examples, weighed.encoded.kept
    chosen = spread_over(weighed.weights, count)

    def dropped(index: int) -> int:
        return len(encoder.prompt(kept[index].complaint).ids) - len(examples[index].prompt_ids)

    if weighed.encoded.truncated_complaints and not any(map(dropped, chosen)):
        chosen.append(next(index for index in _longest_first(examples) if dropped(index)))
    ranks = np.argsort(np.argsort(weighed.weights, kind="stable"))
    return tuple(
        PreviewedExample(
            consultation=kept[index],
            weight=examples[index].weight,
            rank=int(ranks[index]) + 1,
            prompt_tokens=len(examples[index].prompt_ids),
            supervised_tokens=len(examples[index].response_ids),
            dropped_tokens=dropped(index),
            pieces=pieces_of(examples[index], kept[index].complaint, encoder, after),
        )
        for index in chosen
    )


def _longest_first(examples: list[Example]) -> list[int]:
    # A shortened example is about as long as may be, so one of the first is one.
    return sorted(range(len(examples)), key=lambda index: -len(examples[index]))
