"""The records that the stages hand each other."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field


class Severity(StrEnum):
    """How severe a complaint is, from mild to severe. The order of the members is that order."""

    NON_CRITICAL = "non_critical"
    NEUTRAL = "neutral"
    CRITICAL = "critical"


SEVERITIES: tuple[Severity, ...] = tuple(Severity)
PROBABILITY_COLUMNS: tuple[str, ...] = tuple(f"p_{severity}" for severity in SEVERITIES)
_SUM_TOLERANCE = 1e-3  # probabilities that were printed with three decimals still pass


@dataclass(frozen=True, slots=True)
class SeverityDistribution:
    """The probabilities of non-critical, neutral and critical; each in [0, 1], summing to 1.

    Raises:
        ValueError: when one is not a number in [0, 1] or the sum is off by more than 0.001.
    """

    p_non_critical: float
    p_neutral: float
    p_critical: float

    def __post_init__(self) -> None:
        values = self.as_tuple()
        if not all(math.isfinite(value) and 0.0 <= value <= 1.0 for value in values):
            raise ValueError(f"probabilities must be numbers from 0 to 1, not {values}")
        if abs(sum(values) - 1.0) > _SUM_TOLERANCE:
            raise ValueError(f"probabilities must sum to 1, but {values} sum to {sum(values):.4f}")

    def as_tuple(self) -> tuple[float, float, float]:
        """(p_non_critical, p_neutral, p_critical)."""
        return (self.p_non_critical, self.p_neutral, self.p_critical)

    @property
    def most_likely(self) -> Severity:
        """The most probable severity; of equals, the more severe one (the safe side)."""
        values = self.as_tuple()
        return SEVERITIES[max(range(3), key=lambda index: (values[index], index))]


@dataclass(frozen=True, slots=True)
class Consultation:
    """A complaint and the doctor's response to it.

    `labelled_severity` is what a person said; `probabilities` is what an annotator estimated.
    """

    id: str
    complaint: str
    response: str
    specialty: str | None = None
    dialect: str | None = None
    labelled_severity: Severity | None = None
    probabilities: SeverityDistribution | None = None

    @property
    def severity(self) -> Severity | None:
        """The person's label where there is one, else the annotator's most likely severity."""
        if self.labelled_severity is not None:
            return self.labelled_severity
        return None if self.probabilities is None else self.probabilities.most_likely


@dataclass(frozen=True, slots=True)
class Generation:
    """A model's answer to a complaint, with what evaluation needs of it.

    `reference_loss` is the summed negative log-likelihood (nats) of the doctor's response and its
    end-of-sequence token, over `reference_tokens` tokens; both are None where there is no response.
    """

    id: str
    complaint: str
    reference: str
    answer: str
    severity: Severity | None
    severity_is_labelled: bool
    specialty: str | None
    new_tokens: int
    stopped: bool
    reference_loss: float | None = None
    reference_tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object, keys in the order of the fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The record from a JSON object.

        Raises:
            KeyError, TypeError, ValueError: when a field is missing, unknown or wrong.
        """
        severity = value.get("severity")
        return cls(**{**value, "severity": None if severity is None else Severity(severity)})


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WeightSpread(_Record):
    """How far the weights of a training set spread: what decides whether they can act at all."""

    examples: int
    mean: float
    standard_deviation: float
    minimum: float
    p05: float
    median: float
    p95: float
    maximum: float
    effective_sample_share: float = Field(
        description="(sum w)^2 / (n * sum w^2), in (0, 1]; 1 means that all weights are equal"
    )
    mean_by_severity: dict[str, float]
    loss_share_by_severity: dict[str, float] = Field(
        description="share of the summed weights that each severity holds; sums to 1"
    )
    gradient_share_by_severity: dict[str, float] = Field(
        {},
        description="share of the sum of weight times supervised tokens that each severity holds: "
        "of the gradient, where tokens are alike; empty where lengths are not known",
    )
    flat: bool = Field(description="too flat to act: the 95th percentile is within 10 % of the 5th")
    histogram_edges: list[float]
    histogram_counts: list[int]


class TrainingPoint(_Record):
    """A point of the training curve; losses are in nats per supervised token."""

    step: int
    loss: float | None = None
    loss_by_severity: dict[str, float] = {}
    weighted_loss: float | None = None
    validation_loss: float | None = None
    validation_loss_by_severity: dict[str, float] = {}
    learning_rate: float | None = None
    gradient_norm: float | None = Field(None, description="before clipping")


class FirstStepGradient(_Record):
    """The first step's gradient, with the weights and without them: whether they act at all."""

    norm: float
    unweighted_norm: float
    cosine: float = Field(description="between the two; 1 means that weights change no direction")


class TrainingSummary(_Record):
    """What a training run did."""

    steps: int
    seconds: float
    examples: int
    supervised_tokens: int
    padding_share: float
    truncated_complaints: int
    dropped_long_responses: int
    trainable_parameters: int
    first_step: FirstStepGradient | None = Field(
        None, description="absent where parameters are sharded over ranks"
    )
    history: list[TrainingPoint]


class MetricSlice(_Record):
    """Scores of a set of answers. Losses in nats per token; scores and shares from 0 to 100."""

    examples: int
    response_loss: float | None
    perplexity: float | None
    bertscore_f1: float
    chrf: float
    rouge_l: float
    empty_share: float
    repetitive_share: float
    stopped_share: float
    length_ratio: float = Field(description="words of the answers / words of the references")


class Scores(_Record):
    """Scores overall and per severity, with the signature of every metric."""

    overall: MetricSlice
    by_severity: dict[str, MetricSlice]
    signatures: dict[str, str]
    unlabelled_severities: int = Field(
        description="examples whose severity is an annotator's estimate, not a person's label"
    )


class ResultRecord(_Record):
    """One cell of an experiment: a model under a condition with a seed."""

    model: str
    condition: str
    seed: int
    status: Literal["done", "failed"]
    error: str | None = None
    scores: Scores | None = None
    weights: WeightSpread | None = None
    training: TrainingSummary | None = None
    run_folder: str | None = Field(None, description="relative to the results folder")
    answers_file: str | None = Field(None, description="relative to the results folder")
    signature: dict[str, Any]


class ExperimentResults(_Record):
    """Everything that `results.json` holds."""

    format: Literal["tarjih.results/1"] = "tarjih.results/1"
    name: str
    settings: dict[str, Any]
    data: dict[str, Any]
    severity: dict[str, Any]
    signature: dict[str, Any]
    records: list[ResultRecord]
