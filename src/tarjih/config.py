"""What a person may set: for one training run, and for an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tarjih.data.prompt import PromptSettings
from tarjih.data.summary import PrepareSettings
from tarjih.evaluation.evaluate import EvaluationSettings
from tarjih.generation.settings import GenerationSettings
from tarjih.models.load import ModelSettings
from tarjih.settings import Settings
from tarjih.severity.kinds import AnyAnnotatorSettings
from tarjih.severity.linear import LinearSettings
from tarjih.training.settings import TrainingSettings
from tarjih.weighting import NamedWeighting

BASE = "base"
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy's global generator takes
_FORBIDDEN_IN_NAMES = set('/\\:*?"<>|') | {"\0"}


class RunConfig(Settings):
    """One training run: `tarjih train CONFIG`."""

    model: str = Field(
        description="packaged:gemma-3-270m, a hub id such as Qwen/Qwen2.5-0.5B, or a folder"
    )
    train: Path = Field(
        description="data file with complaints and responses, and severity probabilities unless "
        "the weighting is uniform"
    )
    validation: Path | None = Field(
        default=None, description="data file whose loss is watched during training"
    )
    out: Path = Field(description="folder of the run; rerunning goes on where it stopped")
    weighting: NamedWeighting = Field(
        description="uniform, mild, balanced, strong, shuffled, or alpha/beta/gamma"
    )
    seed: Seed = Field(default=1, description="of adapters, batches and shuffled weights")
    prompt: PromptSettings = Field(default_factory=PromptSettings, description="the prompt")
    loading: ModelSettings = Field(
        default_factory=ModelSettings, description="how the model is loaded"
    )
    training: TrainingSettings = Field(
        default_factory=TrainingSettings, description="how the model is fine-tuned"
    )


class DataConfig(Settings):
    """The consultations of an experiment."""

    sources: list[str] = Field(
        min_length=1,
        description="files, `datasets` folders or ids, or bundled:consultations; relative paths "
        "start at the current folder",
    )
    columns: dict[str, str] = Field(
        default_factory=dict, description="our column name -> theirs, where they are not found"
    )
    encoding: str | None = Field(default=None, description="of text files; null: UTF-8")
    prepare: PrepareSettings = Field(
        default_factory=PrepareSettings, description="how they are cleaned and split"
    )
    max_train_examples: int | None = Field(
        default=None, ge=1, description="examples to train on at most, drawn by prepare.seed"
    )
    max_test_examples: int | None = Field(
        default=None, ge=1, description="examples to test on at most, drawn by prepare.seed"
    )


class SeverityConfig(Settings):
    """Where the severity probabilities of an experiment come from."""

    source: Literal["fit", "model", "data"] = Field(
        default="fit",
        description="fit: an annotator fitted on the labelled rows of the training split; model: "
        "a fitted annotator; data: probabilities that the data brings",
    )
    model: Path | None = Field(
        default=None, description="folder of the fitted annotator, for source: model"
    )
    annotator: AnyAnnotatorSettings = Field(
        default_factory=LinearSettings,
        description="the annotator that is fitted: its kind (linear, lexicon, encoder, ensemble) "
        "and the settings of that kind, which `tarjih settings KIND` lists",
    )

    @model_validator(mode="after")
    def _model_where_it_is_used(self) -> Self:
        if (self.source == "model") != (self.model is not None):
            raise ValueError(
                "name a folder in severity.model exactly when severity.source is model"
            )
        return self


def _conditions_from(value: object) -> object:
    """A list of names and of one-key mappings -> a mapping, in the same order."""
    if not isinstance(value, list):
        return value
    conditions: dict[object, object] = {}
    for entry in value:
        if not isinstance(entry, str | dict):
            raise ValueError(f"a condition is a name or `name: weighting`, not {entry!r}")
        named = entry if isinstance(entry, dict) else {entry: entry}
        for name, weighting in named.items():
            if name in conditions:
                raise ValueError(f"the condition {name!r} is there twice")
            conditions[name] = weighting
    return conditions


def _condition_from(value: object) -> object:
    return None if value == BASE else value


def _condition_name(name: str) -> str:
    if not name or _FORBIDDEN_IN_NAMES & set(name) or name.startswith("."):
        raise ValueError(f"the condition's name {name!r} cannot be the name of a folder")
    return name


Condition = Annotated[NamedWeighting | None, BeforeValidator(_condition_from)]
Conditions = Annotated[
    dict[Annotated[str, AfterValidator(_condition_name)], Condition],
    BeforeValidator(_conditions_from),
    Field(min_length=1),
]


class ExperimentConfig(Settings):
    """Models x conditions x seeds on the same data: `tarjih run CONFIG --out DIR`."""

    name: str = Field(description="what the report is called")
    data: DataConfig = Field(description="the consultations")
    severity: SeverityConfig = Field(
        default_factory=SeverityConfig, description="the severity probabilities"
    )
    models: list[str] = Field(
        min_length=1, description="packaged:gemma-3-270m, hub ids, or folders"
    )
    conditions: Conditions = Field(
        description="list of base (no fine-tuning), uniform, mild, balanced, strong, shuffled, "
        "and of `name: {alpha: .., beta: .., gamma: .., severity: .., sharpness: .., "
        "normalise: ..}`"
    )
    seeds: list[Seed] = Field(
        default=[1], min_length=1, description="each trained condition is run once for each"
    )
    prompt: PromptSettings = Field(default_factory=PromptSettings, description="the prompt")
    loading: ModelSettings = Field(
        default_factory=ModelSettings, description="how models are loaded"
    )
    training: TrainingSettings = Field(
        default_factory=TrainingSettings, description="how models are fine-tuned"
    )
    generation: GenerationSettings = Field(
        default_factory=GenerationSettings, description="how answers are generated"
    )
    evaluation: EvaluationSettings = Field(
        default_factory=EvaluationSettings, description="how answers are scored"
    )

    @model_validator(mode="after")
    def _no_doubles(self) -> Self:
        for what, values in (("models", self.models), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{what} lists something twice")
        return self
