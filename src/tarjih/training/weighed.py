"""The training set as the trainer gets it: token ids, what is supervised, and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import Consultation, WeightSpread
from tarjih.training.batches import Passes, Step, padding_share, plan_steps
from tarjih.training.examples import EncodedConsultations, Example, encode_consultations
from tarjih.training.settings import TrainingSettings
from tarjih.weighting import Floats, Weighting, probabilities_of, severity_weights, weight_spread


@dataclass(frozen=True)
class WeighedExamples:
    """The examples to learn from; `weights` is (N,), in the order of `encoded.kept`."""

    encoded: EncodedConsultations
    weights: Floats
    spread: WeightSpread

    @property
    def examples(self) -> list[Example]:
        """The N examples with their weights."""
        return [
            replace(example, weight=float(weight))
            for example, weight in zip(self.encoded.examples, self.weights, strict=True)
        ]

    def steps(self, training: TrainingSettings, seed: int, *, ranks: int = 1) -> list[Step]:
        """The optimizer steps of a run on so many processes."""
        return plan_steps(
            [len(example) for example in self.encoded.examples],
            batch_size=training.batch_size,
            grouped=training.group_by_length,
            batch_tokens=training.batch_tokens,
            parts=training.accumulation_steps * ranks,
            seed=seed,
            epochs=training.epochs,
            max_steps=training.max_steps,
        )

    def padding_share(self, training: TrainingSettings, seed: int, passes: Passes) -> float:
        """The share of padding tokens among all that a run of one process sees, from 0 to 1."""
        lengths = [len(example) for example in self.encoded.examples]
        return padding_share(lengths, self.steps(training, seed), passes)


def weigh_examples(
    consultations: Sequence[Consultation],
    encoder: PromptEncoder,
    *,
    weighting: Weighting,
    training: TrainingSettings,
    seed: int,
) -> WeighedExamples:
    """Encode and weigh a training set; no model is needed.

    Raises:
        DataError: when a response is empty or does not fit, probabilities are needed and missing,
            or nothing is left.
        SettingsError: when no supervised token would have any weight.
    """
    encoded = encode_consultations(
        consultations,
        encoder,
        max_tokens=training.max_tokens,
        long_responses=training.long_responses,
    )
    tokens = encoded.supervised_tokens
    weights = severity_weights(
        probabilities_of(encoded.kept, weighting), weighting, seed=seed, tokens=tokens
    )
    return WeighedExamples(encoded, weights, weight_spread(weights, encoded.kept, tokens))
