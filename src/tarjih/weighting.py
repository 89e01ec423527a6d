"""From severity probabilities to weights, and how far those weights spread.

The weight of an example is w = alpha * p_non_critical + beta * p_neutral + gamma * p_critical
(equation (4) of arXiv 2604.06346). Probabilities that are nearly flat give weights that are nearly
equal, and then the weighting can hardly do anything: the spread is therefore part of every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from tarjih.errors import DataError, SettingsError
from tarjih.records import SEVERITIES, Consultation, Severity, WeightSpread
from tarjih.settings import Settings, make_settings, settings_from_overrides

Floats = NDArray[np.float64]

PRESETS: dict[str, tuple[float, float, float]] = {
    "uniform": (1.0, 1.0, 1.0),
    "mild": (0.75, 1.0, 1.25),
    "balanced": (0.5, 1.0, 1.5),
    "strong": (0.25, 1.0, 1.75),
}
SHUFFLED = "shuffled"
_FLAT_RATIO = 1.1
_HISTOGRAM_BINS = 24
_NARROWEST = 1e-3


class Weighting(Settings):
    """How probabilities become weights."""

    alpha: float = Field(ge=0, description="weight of a surely non-critical complaint; no unit")
    beta: float = Field(ge=0, description="weight of a surely neutral complaint; no unit")
    gamma: float = Field(ge=0, description="weight of a surely critical complaint; no unit")
    severity: Literal["predicted", "hard", "labelled"] = Field(
        default="predicted",
        description="predicted: the annotator's probabilities; hard: all on its most likely "
        "severity; labelled: all on the label that a person gave",
    )
    sharpness: float = Field(
        default=1.0,
        gt=0,
        description="exponent of the predicted probabilities before they are made to sum to 1: "
        "above 1 weights spread more, below 1 less; 1 leaves them calibrated; no unit",
    )
    shuffled: bool = Field(
        default=False,
        description="control: deal the same weights to the wrong rows, by the run's seed",
    )
    normalise: Literal["none", "mean"] = Field(
        default="none",
        description="mean: divide by the mean over the training set's supervised tokens, so that "
        "the weights do not change the learning rate",
    )

    @model_validator(mode="after")
    def _something_is_weighted(self) -> Self:
        if self.alpha == self.beta == self.gamma == 0:
            raise ValueError("alpha, beta and gamma are all 0: nothing would be learnt")
        if self.sharpness != 1 and self.severity != "predicted":
            raise ValueError(f"sharpness does nothing to {self.severity} severities: leave it at 1")
        return self

    @property
    def settings(self) -> tuple[float, float, float]:
        """(alpha, beta, gamma)."""
        return (self.alpha, self.beta, self.gamma)

    @property
    def is_uniform(self) -> bool:
        """Whether every example gets the same weight whatever its severity."""
        return self.alpha == self.beta == self.gamma

    @property
    def needs_probabilities(self) -> bool:
        """Whether every consultation must have an annotator's probabilities."""
        return not self.is_uniform and self.severity != "labelled"


def weighting_from(value: object) -> object:
    """A preset's name -> its weighting; `shuffled` deals the balanced weights to wrong rows.

    Raises:
        ValueError: when the name is no preset.
    """
    if not isinstance(value, str):
        return value
    if value == SHUFFLED:
        alpha, beta, gamma = PRESETS["balanced"]
        return Weighting(alpha=alpha, beta=beta, gamma=gamma, shuffled=True)
    if value not in PRESETS:
        known = ", ".join([*PRESETS, SHUFFLED])
        raise ValueError(f"there is no weighting {value!r}; known: {known}, or alpha/beta/gamma")
    alpha, beta, gamma = PRESETS[value]
    return Weighting(alpha=alpha, beta=beta, gamma=gamma)


def weighting_from_text(text: str) -> Weighting:
    """A preset, settings such as "gamma=3", or both: "strong,sharpness=2".

    What is not said is as in the preset, or as in `balanced`.

    Raises:
        SettingsError: when it is neither.
    """
    name, *told = text.split(",")
    if "=" in name:
        name, told = "balanced", [name, *told]
    named = make_settings(_Named, {"weighting": name.strip()}).weighting
    overrides = [f"{key}={value}" for key, value in named.model_dump().items()]
    return settings_from_overrides(Weighting, [*overrides, *told])


NamedWeighting = Annotated[Weighting, BeforeValidator(weighting_from)]


class _Named(Settings):
    weighting: NamedWeighting = Field(description="a preset's name")


def severity_weights(
    probabilities: Floats, weighting: Weighting, *, seed: int, tokens: NDArray[np.int64]
) -> Floats:
    """The weight of every training example.

    Args:
        probabilities: (N, 3), in the order non-critical, neutral, critical; rows sum to 1.
        weighting: alpha, beta, gamma, shuffling and normalisation.
        seed: decides the shuffling only.
        tokens: (N,), the supervised tokens of each example: what the mean is taken over.

    Returns:
        (N,) weights, at least 0.

    Raises:
        SettingsError: when no supervised token would have any weight.
    """
    # Rows may sum to 1 only to three decimals; that must not weigh them.
    weights: Floats = (probabilities @ np.array(weighting.settings)) / probabilities.sum(axis=1)
    if weighting.is_uniform:
        weights = np.full(len(probabilities), weighting.alpha)
    if weighting.shuffled:
        weights = np.random.default_rng(seed).permutation(weights)
    total = float(weights @ tokens)
    if total <= 0:
        raise SettingsError(
            "every training example has weight 0: nothing would be learnt",
            remedy="raise alpha, beta or gamma",
        )
    if weighting.normalise == "mean":
        weights = weights * (float(tokens.sum()) / total)
    return weights


def probabilities_of(consultations: Sequence[Consultation], weighting: Weighting) -> Floats:
    """(N, 3) probabilities of the consultations to be weighted, as the weighting takes them.

    A uniform weighting needs none: there, each counts as one third.

    Raises:
        DataError: naming the first consultation that needs probabilities, or a label, and has none.
    """
    rows = [_probabilities_of(consultation, weighting) for consultation in consultations]
    found = np.array(rows, dtype=np.float64).reshape(-1, 3)
    if weighting.sharpness != 1:
        found = (found / found.max(axis=1, keepdims=True)) ** weighting.sharpness
        found /= found.sum(axis=1, keepdims=True)
    return found


def _probabilities_of(
    consultation: Consultation, weighting: Weighting
) -> tuple[float, float, float]:
    if weighting.is_uniform:
        return (1 / 3, 1 / 3, 1 / 3)
    if weighting.severity == "labelled":
        if consultation.labelled_severity is None:
            raise DataError(
                f"consultation {consultation.id} has no severity that a person chose",
                remedy="weight by predicted severities, or train on labelled consultations only",
            )
        return _all_on(consultation.labelled_severity)
    if consultation.probabilities is None:
        raise DataError(
            f"consultation {consultation.id} has no severity probabilities",
            remedy="annotate the data first: tarjih severity score MODEL DATA --out FILE",
        )
    if weighting.severity == "hard":
        return _all_on(consultation.probabilities.most_likely)
    return consultation.probabilities.as_tuple()


def _all_on(severity: Severity) -> tuple[float, float, float]:
    first, second, third = (float(severity is one) for one in SEVERITIES)
    return first, second, third


def weight_spread(
    weights: Floats, consultations: Sequence[Consultation], tokens: NDArray[np.int64] | None = None
) -> WeightSpread:
    """How far weights spread, and what share of their sum each severity holds.

    Args:
        weights: (N,), N at least 1.
        consultations: the N consultations, in the same order.
        tokens: (N,) supervised tokens of each, or what stands for them; None leaves the share of
            the gradient open.
    """
    p05, median, p95 = np.quantile(weights, [0.05, 0.5, 0.95])
    severities = np.array([str(consultation.severity) for consultation in consultations])
    of_severity = {str(severity): weights[severities == str(severity)] for severity in SEVERITIES}
    lowest, highest = float(weights.min()), float(weights.max())
    if highest - lowest < _NARROWEST:  # bins cannot be narrower than numbers can be
        lowest, highest = lowest - _NARROWEST, highest + _NARROWEST
    counts, edges = np.histogram(weights, bins=_HISTOGRAM_BINS, range=(lowest, highest))
    return WeightSpread(
        examples=len(weights),
        mean=float(weights.mean()),
        standard_deviation=float(weights.std()),
        minimum=float(weights.min()),
        p05=float(p05),
        median=float(median),
        p95=float(p95),
        maximum=float(weights.max()),
        effective_sample_share=float(weights.sum() ** 2 / (len(weights) * (weights**2).sum())),
        mean_by_severity={
            name: float(part.mean()) for name, part in of_severity.items() if len(part)
        },
        loss_share_by_severity=_shares(weights, severities),
        gradient_share_by_severity={} if tokens is None else _shares(weights * tokens, severities),
        flat=bool(p95 < _FLAT_RATIO * p05),
        histogram_edges=[float(edge) for edge in edges],
        histogram_counts=[int(count) for count in counts],
    )


def _shares(amounts: Floats, severities: NDArray[np.str_]) -> dict[str, float]:
    # What each severity holds of the whole, of those that occur.
    return {
        str(severity): float(amounts[severities == str(severity)].sum() / amounts.sum())
        for severity in SEVERITIES
        if str(severity) in severities
    }


def flatness_warning(spread: WeightSpread, weighting: Weighting) -> str | None:
    """One sentence when weights that should differ are too flat to act; None otherwise."""
    if not spread.flat or weighting.is_uniform:
        return None
    return (
        f"the weights are nearly flat: 90 % of them lie between {spread.p05:.3f} and "
        f"{spread.p95:.3f}, so this run can hardly differ from plain cross-entropy. Use a better "
        "severity annotator, a higher sharpness, or a wider alpha/gamma."
    )
