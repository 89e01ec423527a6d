"""Several annotators together: what one does not see, another may.

Every member is cross-fitted on the same folds. What combines them reads the members' calibrated,
held-out probabilities p_1 ... p_m:

- stacking: softmax(W [log p_1 ... log p_m] + b), a multinomial logistic regression with a ridge
  (Wolpert, "Stacked generalization", 1992; Ting & Witten 1999 on probabilities as inputs).
- mean: (p_1 + ... + p_m) / m.

It is cross-fitted in its turn: the regression that makes a row's probabilities saw the members'
held-out probabilities of the other folds only. The result is calibrated as any annotator's is.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from safetensors.numpy import load_file, save_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from tarjih.errors import ModelError, WorkFailedError
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.annotator import (
    MANIFEST,
    Annotator,
    AnnotatorSettings,
    Work,
    annotator_class,
)
from tarjih.severity.calibration import SMALLEST_PROBABILITY, Floats, Integers
from tarjih.severity.cross_fitted import (
    CrossFittedAnnotator,
    CrossFittedSettings,
    Part,
    Scorer,
)

COMBINATION = "combination.safetensors"
_SHARED = tuple(CrossFittedSettings.model_fields.keys() - AnnotatorSettings.model_fields.keys())
_MAX_ITERATIONS = 10_000
_CLASSES = len(SEVERITIES)


def _member_settings(value: object) -> object:
    """The settings of a member's kind, of a mapping with the key `kind`."""
    if isinstance(value, CrossFittedSettings):
        return value
    if not isinstance(value, Mapping) or "kind" not in value:
        raise ValueError("a member is a mapping such as {kind: linear}")
    try:
        chosen = annotator_class(str(value["kind"])).settings_class
    except ModelError as error:
        raise ValueError(f"{error.what}; {error.remedy}") from None
    if not issubclass(chosen, CrossFittedSettings) or issubclass(chosen, EnsembleSettings):
        raise ValueError(f"an annotator of kind {value['kind']!r} cannot be a member")
    try:
        return chosen.model_validate(value)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ValueError("; ".join(faults)) from None


Member = Annotated[SerializeAsAny[CrossFittedSettings], BeforeValidator(_member_settings)]


class EnsembleSettings(CrossFittedSettings):
    """Settings of an ensemble. Its folds, similarity and seed are those of all its members."""

    kind: Literal["ensemble"] = Field(
        "ensemble", description="which annotator reads the complaints"
    )
    members: tuple[Member, ...] = Field(
        ({"kind": "lexicon"}, {"kind": "linear"}),  # type: ignore[arg-type]  # validated, too
        min_length=2,
        description="settings of the annotators to combine, each with its kind: lexicon, linear, "
        "encoder",
    )
    combination: Literal["stacking", "mean"] = Field(
        "stacking",
        description="logistic regression on the members' log-probabilities, or the "
        "mean of their probabilities",
    )
    ridge: float = Field(
        1.0,
        gt=0,
        description="of the stacking: half of it times the squared weights is added to the log "
        "loss summed over rows",
    )

    @property
    def learns_from_responses(self) -> bool:
        """Whether a member does."""
        return any(member.learns_from_responses for member in self.members)

    @property
    def reads_responses(self) -> bool:
        """Whether a member does."""
        return any(member.reads_responses for member in self.members)

    @model_validator(mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        fields = cls.model_fields
        shared = {name: value.get(name, fields[name].default) for name in _SHARED}
        members = value.get("members", fields["members"].default)
        if not isinstance(members, list | tuple):
            return value
        return {
            **value,
            "members": [{**shared, **m} if isinstance(m, Mapping) else m for m in members],
        }

    @model_validator(mode="after")
    def _members_share(self) -> Self:
        for number, member in enumerate(self.members):
            for name in _SHARED:
                if getattr(member, name) != getattr(self, name):
                    raise ValueError(
                        f"members.{number}.{name} is {getattr(member, name)}, but all members "
                        f"have the ensemble's {name}: set {name} of the ensemble"
                    )
        return self


class Combination:
    """From the members' probabilities to logits.

    Args:
        weights: (3, 3 * m) of the stacking, and None for the mean.
        intercept: (3,) of the stacking.

    Raises:
        ValueError: when the shapes do not fit or a number is not finite.
    """

    def __init__(self, weights: Floats | None = None, intercept: Floats | None = None) -> None:
        self.weights = weights
        self.intercept = intercept
        if weights is not None and intercept is not None:
            if weights.ndim != 2 or weights.shape[0] != _CLASSES or intercept.shape != (_CLASSES,):
                raise ValueError(f"weights {weights.shape}, intercept {intercept.shape}")
            if not (np.isfinite(weights).all() and np.isfinite(intercept).all()):
                raise ValueError("a weight is not a finite number")

    def logits(self, probabilities: Floats) -> Floats:
        """(n, 3), of the members' probabilities (n, m, 3)."""
        if self.weights is None or self.intercept is None:
            return np.asarray(np.log(_clipped(probabilities.mean(axis=1))), dtype=np.float64)
        return np.asarray(_features(probabilities) @ self.weights.T + self.intercept)

    @classmethod
    def fit(cls, probabilities: Floats, classes: Integers, settings: EnsembleSettings) -> Self:
        """Fit on held-out probabilities (n, m, 3) and labels (n,).

        Raises:
            WorkFailedError: when the solver does not converge.
        """
        if settings.combination == "mean":
            return cls()
        regression = LogisticRegression(C=1 / settings.ridge, max_iter=_MAX_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                regression.fit(_features(probabilities), classes)
            except ConvergenceWarning:
                raise WorkFailedError(
                    f"the stacking did not converge in {_MAX_ITERATIONS} iterations: raise ridge"
                ) from None
        return cls(
            np.ascontiguousarray(regression.coef_, dtype=np.float64),
            np.ascontiguousarray(regression.intercept_, dtype=np.float64),
        )


class EnsembleScorer:
    """Members, each fitted on all rows, and what combines them."""

    def __init__(self, members: Sequence[Annotator[Any]], combination: Combination) -> None:
        self.members = tuple(members)
        self.combination = combination

    def logits(self, complaints: Sequence[str]) -> Floats:
        """See `Scorer.logits`."""
        return self.combination.logits(self.probabilities(complaints, out_of_fold=False))

    def probabilities(self, complaints: Sequence[str], *, out_of_fold: bool) -> Floats:
        """The members' probabilities (n, m, 3) of n complaints."""
        found = [m.score(complaints, out_of_fold=out_of_fold).probabilities for m in self.members]
        return np.stack(found, axis=1)

    def write(self, folder: Path) -> None:
        """Write a sub-folder for each member, which is an annotator by itself, and the weights."""
        for number, member in enumerate(self.members, start=1):
            member.save(folder / _name(number))
        if self.combination.weights is not None and self.combination.intercept is not None:
            tensors = {
                "weights": self.combination.weights,
                "intercept": self.combination.intercept,
            }
            save_file(tensors, folder / COMBINATION)


class EnsembleAnnotator(CrossFittedAnnotator[EnsembleSettings]):
    """Several annotators, stacked or averaged."""

    kind: ClassVar[str] = "ensemble"
    settings_class: ClassVar[type[AnnotatorSettings]] = EnsembleSettings

    @classmethod
    def cross_fit(
        cls,
        complaints: Sequence[str],
        classes: Integers,
        parts: Sequence[Part],
        settings: EnsembleSettings,
        work: Work,
    ) -> tuple[Floats, Scorer]:
        """Members are fitted once: their own folds, the same as `parts`, hold the rows out."""
        scorer = cls.fit_scorer(complaints, classes, settings, work)
        inputs = scorer.probabilities(complaints, out_of_fold=True)
        logits = np.zeros((len(classes), _CLASSES))
        for fitted, held_out in parts:
            combination = Combination.fit(inputs[fitted], classes[fitted], settings)
            logits[held_out] = combination.logits(inputs[held_out])
        return logits, scorer

    @classmethod
    def fit_scorer(
        cls, complaints: Sequence[str], classes: Integers, settings: EnsembleSettings, work: Work
    ) -> EnsembleScorer:
        """Cross-fit the members, and combine them by their held-out probabilities."""
        members = []
        for number, member in enumerate(settings.members, start=1):
            work.reporter.note(f"member {number} of {len(settings.members)}: {member.kind}")
            members.append(_fitted_member(_name(number), complaints, classes, member, work))
        scorer = EnsembleScorer(members, Combination())
        inputs = scorer.probabilities(complaints, out_of_fold=True)
        return EnsembleScorer(members, Combination.fit(inputs, classes, settings))

    @classmethod
    def read_scorer(cls, folder: Path, settings: EnsembleSettings) -> EnsembleScorer:
        """See `CrossFittedAnnotator.read_scorer`."""
        members = [
            annotator_class(member.kind).load(folder / _name(number))
            for number, member in enumerate(settings.members, start=1)
        ]
        if settings.combination == "mean":
            return EnsembleScorer(members, Combination())
        tensors = load_file(folder / COMBINATION)
        if tensors["weights"].shape != (_CLASSES, _CLASSES * len(members)):
            raise ValueError(f"{len(members)} members, weights {tensors['weights'].shape}")
        return EnsembleScorer(members, Combination(tensors["weights"], tensors["intercept"]))

    @classmethod
    def plan(
        cls, complaints: Sequence[str], labels: Sequence[Severity], settings: EnsembleSettings
    ) -> dict[str, Any]:
        """The plan of the ensemble, with those of its members."""
        return {
            **super().plan(complaints, labels, settings),
            "members": [
                _class_of(member).plan(complaints, labels, member) for member in settings.members
            ],
        }


def _fitted_member(
    name: str,
    complaints: Sequence[str],
    classes: Integers,
    settings: CrossFittedSettings,
    work: Work,
) -> Annotator[Any]:
    """Fit a member; one that an earlier start finished is read."""
    found = _class_of(settings)
    kept = None if work.folder is None else work.folder / name
    if kept is not None and (kept / MANIFEST).is_file():
        try:
            return found.load(kept)
        except ModelError as error:
            work.reporter.warn(f"{kept} is damaged ({error.what}); this member is fitted again")
    labels = [SEVERITIES[int(index)] for index in classes]
    member = found.fit(complaints, labels, settings, work.part(f"{name}-parts"))
    if kept is not None:
        member.save(kept)
    return member


def _class_of(settings: CrossFittedSettings) -> type[CrossFittedAnnotator[Any]]:
    found = annotator_class(settings.kind)
    assert issubclass(found, CrossFittedAnnotator)  # _member_settings saw to that
    return found


def _name(number: int) -> str:
    return f"member-{number}"


def _clipped(probabilities: Floats) -> Floats:
    return np.clip(probabilities, SMALLEST_PROBABILITY, 1.0)


def _features(probabilities: Floats) -> Floats:
    return np.asarray(np.log(_clipped(probabilities)).reshape(len(probabilities), -1))
