"""What `prepare` did: its settings, and the summary that it writes beside the data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tarjih.records import Severity
from tarjih.settings import Settings


class PrepareSettings(Settings):
    """How raw consultations become training data."""

    seed: int = Field(0, description="seed of the split and of the draw of max_rows")
    validation_fraction: float = Field(
        0.1, gt=0, lt=0.5, description="share of the rows for validation, in (0, 0.5)"
    )
    test_fraction: float = Field(
        0.1, gt=0, lt=0.5, description="share of the rows for testing, in (0, 0.5)"
    )
    near_duplicate_similarity: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Jaccard similarity of 6-character shingles, in (0, 1], from which two "
        "complaints are kept in the same split",
    )
    mask_contacts: bool = Field(
        True, description="replace e-mail addresses and telephone numbers by [email] and [phone]"
    )
    reject_bad_values: bool = Field(
        False,
        description="set rows with damaged cells, unknown severities or invalid probabilities "
        "aside, instead of stopping",
    )
    max_rows: int | None = Field(
        None, ge=3, description="rows to keep at most, drawn at random; null keeps all"
    )
    labels: dict[str, Severity] = Field(
        default_factory=dict,
        description="further severity labels of the files: label -> non_critical, neutral or "
        "critical",
    )


class _Summary(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSummary(_Summary):
    """One source. `columns` maps our name to the file's; `told` are those the user named."""

    name: str
    sha256: str
    rows: int
    accepted: int
    rejected: dict[str, int]
    columns: dict[str, str]
    told: list[str]
    probability_scale: float | None


class SplitSummary(_Summary):
    """One split. A labelled severity is a person's; an estimated one is an annotator's arg-max."""

    rows: int
    groups: int
    labelled_severity: dict[str, int]
    estimated_severity: dict[str, int]
    specialty: dict[str, int]


class PrepareSummary(_Summary):
    """What `prepare` read, set aside and wrote. All counts are rows unless they say otherwise."""

    format: Literal["tarjih.prepared/1"] = "tarjih.prepared/1"
    settings: dict[str, Any]
    columns: dict[str, str]
    encoding: str | None
    sources: list[SourceSummary]
    rows_read: int
    rows_kept: int
    rows_not_drawn: int
    rejected: dict[str, int]
    masked_rows: int
    repeated_ids: int
    groups: int
    near_duplicate_rows: int = Field(description="rows that share a group with another row")
    largest_group: int
    splits: dict[str, SplitSummary]
    files: dict[str, str] = Field(description="SHA-256 of each file")
    data_hash: str = Field(description="SHA-256 over the three splits")
    reused: bool = Field(False, exclude=True, description="nothing was done: all was there already")
