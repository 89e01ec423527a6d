"""From answers to scores: what is expensive runs once per answer, slices are then sums.

measurements = measure(generations, settings)   # encoder, n-grams, words: once
measurements.scores()                           # overall and per severity
measurements.rows()                             # per example, for paired tests and intervals
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from tarjih.arabic.normalise import WORDS_VERSION, words
from tarjih.errors import DataError
from tarjih.evaluation.bertscore import (
    BertScoreSettings,
    BertScoreStatistic,
    bertscore,
    bertscore_signature,
    bertscore_statistics,
    load_encoder,
)
from tarjih.evaluation.chrf import ChrfStatistic, chrf, chrf_signature, chrf_statistic
from tarjih.evaluation.generations import read_generations
from tarjih.evaluation.repetition import is_empty, is_repetitive, repetition_signature
from tarjih.evaluation.response_loss import (
    LossStatistic,
    perplexity,
    response_loss,
    response_loss_signature,
)
from tarjih.evaluation.rouge import rouge_l, rouge_l_statistic, rouge_signature
from tarjih.records import SEVERITIES, Generation, MetricSlice, Scores, Severity
from tarjih.settings import Settings

__all__ = [
    "EvaluationSettings",
    "ExampleStatistics",
    "Measurements",
    "evaluate",
    "measure",
    "per_example",
    "read_generations",
]

Progress = Callable[[int, int], None]
"""Called with (answers compared by the encoder, all answers)."""


class EvaluationSettings(Settings):
    """How answers are scored. Every other metric has one definition and nothing to set."""

    bertscore: BertScoreSettings = Field(
        default_factory=BertScoreSettings, description="the encoder that compares texts"
    )


@dataclass(frozen=True, slots=True)
class ExampleStatistics:
    """The sufficient statistics of one answer: every score is computed from a list of these."""

    id: str
    severity: Severity | None
    severity_is_labelled: bool
    loss: LossStatistic | None
    bertscore: BertScoreStatistic
    chrf: ChrfStatistic
    rouge_l: float
    empty: bool
    repetitive: bool
    stopped: bool
    answer_words: int
    reference_words: int

    def to_json(self) -> dict[str, Any]:
        """The statistics as a JSON object. It holds no text of a patient."""
        return {
            "id": self.id,
            "severity": None if self.severity is None else str(self.severity),
            "severity_is_labelled": self.severity_is_labelled,
            "reference_loss": None if self.loss is None else self.loss.loss,
            "reference_tokens": None if self.loss is None else self.loss.tokens,
            "bertscore_f1": 100.0 * self.bertscore.f1,
            "bertscore_empty": self.bertscore.empty,
            "bertscore_truncated": self.bertscore.truncated,
            "chrf_counts": list(self.chrf),
            "rouge_l": 100.0 * self.rouge_l,
            "empty": self.empty,
            "repetitive": self.repetitive,
            "stopped": self.stopped,
            "answer_words": self.answer_words,
            "reference_words": self.reference_words,
        }


@dataclass(frozen=True, slots=True)
class Measurements:
    """The statistics of a set of answers, with the signatures of the metrics."""

    examples: tuple[ExampleStatistics, ...]
    signatures: dict[str, str]

    def scores(self) -> Scores:
        """Scores overall and per severity; severities that do not occur are left out."""
        slices = {
            str(severity): [one for one in self.examples if one.severity is severity]
            for severity in SEVERITIES
        }
        return Scores(
            overall=aggregate(self.examples),
            by_severity={name: aggregate(part) for name, part in slices.items() if part},
            signatures={**self.signatures, "bertscore_counts": self._bertscore_counts()},
            unlabelled_severities=sum(
                one.severity is not None and not one.severity_is_labelled for one in self.examples
            ),
        )

    def rows(self) -> list[dict[str, Any]]:
        """One JSON object per example, in the order of the answers."""
        return [one.to_json() for one in self.examples]

    def _bertscore_counts(self) -> str:
        empty = sum(one.bertscore.empty for one in self.examples)
        truncated = sum(one.bertscore.truncated for one in self.examples)
        return f"pairs:{len(self.examples)}|empty:{empty}|truncated:{truncated}"


def measure(
    generations: Sequence[Generation],
    settings: EvaluationSettings,
    progress: Progress | None = None,
) -> Measurements:
    """Compute the statistics of every answer; this is where the time goes.

    Raises:
        DataError: when there are no answers.
        ModelError: when the encoder cannot be used.
    """
    if not generations:
        raise DataError("there are no answers to evaluate", remedy="generate answers first")
    encoder = load_encoder(settings.bertscore)
    compared = bertscore_statistics(
        [one.answer for one in generations],
        [one.reference for one in generations],
        encoder,
        batch_size=settings.bertscore.batch_size,
        progress=progress,
    )
    return Measurements(
        examples=tuple(map(_measure_one, generations, compared)),
        signatures={
            "bertscore_f1": bertscore_signature(settings.bertscore, encoder),
            "response_loss": response_loss_signature(),
            "chrf": chrf_signature(),
            "rouge_l": rouge_signature(),
            "repetitive_share": repetition_signature(),
            "empty_share": f"empty|no word|words:v{WORDS_VERSION}",
        },
    )


def evaluate(
    generations: Sequence[Generation],
    settings: EvaluationSettings,
    progress: Progress | None = None,
) -> Scores:
    """Scores overall and per severity: `measure(...).scores()`."""
    return measure(generations, settings, progress).scores()


def per_example(
    generations: Sequence[Generation], settings: EvaluationSettings
) -> list[dict[str, Any]]:
    """Statistics of every answer: `measure(...).rows()`. For both, call `measure` once."""
    return measure(generations, settings).rows()


def aggregate(examples: Sequence[ExampleStatistics]) -> MetricSlice:
    """Scores of one or more examples.

    `length_ratio` is 0 where the references have no words.
    """
    loss = response_loss(one.loss for one in examples)
    reference_words = sum(one.reference_words for one in examples)
    return MetricSlice(
        examples=len(examples),
        response_loss=loss,
        perplexity=perplexity(loss),
        bertscore_f1=bertscore([one.bertscore for one in examples]),
        chrf=chrf([one.chrf for one in examples]),
        rouge_l=rouge_l([one.rouge_l for one in examples]),
        empty_share=_share([one.empty for one in examples]),
        repetitive_share=_share([one.repetitive for one in examples]),
        stopped_share=_share([one.stopped for one in examples]),
        length_ratio=sum(one.answer_words for one in examples) / reference_words
        if reference_words
        else 0.0,
    )


def _measure_one(generation: Generation, compared: BertScoreStatistic) -> ExampleStatistics:
    answer = words(generation.answer)
    reference = words(generation.reference)
    loss = (
        LossStatistic(generation.reference_loss, generation.reference_tokens)
        if generation.reference_loss is not None and generation.reference_tokens is not None
        else None
    )
    return ExampleStatistics(
        id=generation.id,
        severity=generation.severity,
        severity_is_labelled=generation.severity_is_labelled,
        loss=loss,
        bertscore=compared,
        chrf=chrf_statistic(generation.answer, generation.reference),
        rouge_l=rouge_l_statistic(answer, reference),
        empty=is_empty(answer),
        repetitive=is_repetitive(generation.answer, answer),
        stopped=generation.stopped,
        answer_words=len(answer),
        reference_words=len(reference),
    )


def _share(flags: Sequence[bool]) -> float:
    return 100.0 * sum(flags) / len(flags)
