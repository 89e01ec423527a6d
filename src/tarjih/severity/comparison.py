"""How annotators are compared, and what is found: everything that `comparison.json` holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tarjih.errors import DataError
from tarjih.files import read_json
from tarjih.settings import Settings
from tarjih.severity.measures import SeverityMeasures
from tarjih.severity.resampling import Estimate
from tarjih.severity.triage_rule import ZERO_ONE, Costs

COMPARISON_FILE = "comparison.json"


class ComparisonSettings(Settings):
    """How annotators are compared."""

    folds: int = Field(5, ge=2, description="folds; each row is scored by models of the others")
    seeds: int = Field(1, ge=1, description="ways to deal the rows into folds")
    seed: int = Field(0, ge=0, description="of the first deal and of the resamples")
    near_duplicate_similarity: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Jaccard similarity of 6-character shingles from which complaints stay in one "
        "fold and are resampled together",
    )
    nested: bool = Field(
        False,
        description="fit a whole annotator, calibration included, for each fold: folds times the "
        "work, and no calibrator saw anything of the rows it is judged on",
    )
    resamples: int = Field(
        10_000, ge=1, description="of the rows for each interval and each p value"
    )
    costs: Costs = Field(
        ZERO_ONE,
        description="cost of a call, a row for each label and a column for each call (non-critical,"
        " neutral, critical), for the table of under-triage; no unit",
    )
    under_triage_targets: tuple[float, ...] = Field(
        (0.3, 0.25, 0.2, 0.15, 0.1, 0.05),
        description="under-triage to aim at, each a row of that table, from 0 to 1",
    )

    @field_validator("costs")
    @classmethod
    def _mistakes_cost(cls, costs: Costs) -> Costs:
        for label, row in enumerate(costs):
            for called, cost in enumerate(row):
                if (cost != 0) if label == called else (cost <= 0):
                    raise ValueError("a right call costs 0 and every wrong one more than 0")
        return costs

    @field_validator("under_triage_targets")
    @classmethod
    def _targets_are_shares(cls, targets: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= target < 1 for target in targets):
            raise ValueError("a target is at least 0 and below 1")
        return targets


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReliabilityBin(_Record):
    """Complaints whose stated probability is about the same."""

    count: int
    stated: float | None = Field(description="mean probability; null in an empty bin")
    observed: float | None = Field(description="share that the statement was right about")


class Reliability(_Record):
    """Stated probabilities against observed shares, in bins of equal width."""

    confidence: tuple[ReliabilityBin, ...] = Field(
        description="of the most likely severity: how often it is the label"
    )
    by_severity: dict[str, tuple[ReliabilityBin, ...]] = Field(
        description="of each severity's probability: how often that severity is the label"
    )


class TriageChoice(_Record):
    """Calls by least expected cost, the penalty of under-triage chosen on other folds."""

    target: float | None = Field(
        description="under-triage allowed where the penalty was chosen, from 0 to 1; null: no "
        "penalty"
    )
    penalties: tuple[float | None, ...] = Field(
        description="added to the cost of under-triage, of each fold; null calls nothing "
        "non-critical"
    )
    measures: dict[str, Estimate]


class ComparedAnnotator(_Record):
    """One annotator: how well it agrees with labels of complaints that it did not see."""

    name: str
    kind: str
    settings: dict[str, Any]
    signatures: tuple[dict[str, Any], ...] = Field(description="one for each seed")
    probabilities: tuple[str, ...] = Field(
        description="files of the held-out probabilities, one for each seed, relative to the folder"
    )
    measures: dict[str, Estimate] = Field(description="means over the seeds")
    by_seed: tuple[SeverityMeasures, ...]
    confusion_matrix: tuple[tuple[int, ...], ...] = Field(
        description="over all seeds; rows are labels, columns predictions"
    )
    reliability: Reliability = Field(description="over all seeds")
    triage: tuple[TriageChoice, ...]


class Difference(_Record):
    """An annotator's measure less the first one's, on the same rows."""

    name: str
    measure: str
    difference: Estimate
    p: float | None = Field(description="two-sided, by exchanging groups of near-duplicates")
    p_corrected: float | None = Field(description="by Holm's method, over all differences here")


class Comparison(_Record):
    """Everything that `comparison.json` holds."""

    format: Literal["tarjih.comparison/1"] = "tarjih.comparison/1"
    data: dict[str, Any]
    settings: dict[str, Any]
    annotators: tuple[ComparedAnnotator, ...] = Field(min_length=1)
    differences: tuple[Difference, ...]
    versions: dict[str, str]


def load_comparison(folder: Path) -> Comparison:
    """Read `comparison.json` of a folder.

    Raises:
        DataError: when it is absent, damaged, or of another format.
    """
    file = folder / COMPARISON_FILE
    try:
        return Comparison.model_validate(read_json(file))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise DataError(
            f"{place}: {fault['msg']}", file=file, remedy="compare the annotators again"
        ) from None
