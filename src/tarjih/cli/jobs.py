"""From the settings file of a training run to the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tarjih.errors import DataError, SettingsError
from tarjih.records import Consultation

if TYPE_CHECKING:
    from tarjih.config import RunConfig
    from tarjih.training.job import TrainingJob


def read_run_config(file: Path, overrides: Sequence[str]) -> RunConfig:
    """Read the settings of one training run.

    Raises:
        SettingsError: naming every fault, or saying that the file is an experiment's.
    """
    from tarjih.config import ExperimentConfig, RunConfig
    from tarjih.settings import load_settings

    try:
        return load_settings(RunConfig, file, overrides)
    except SettingsError as error:
        try:
            load_settings(ExperimentConfig, file)
        except SettingsError:
            raise error from None
    raise SettingsError(
        "these are the settings of an experiment (tarjih run), not of one training run",
        file=file,
        remedy="start from configs/train-example.yaml; `tarjih settings run` lists every key",
    )


def training_job(chosen: RunConfig) -> TrainingJob:
    """Read the data of a training run.

    Raises:
        DataError: naming the file.
    """
    from tarjih.training.job import TrainingJob

    return TrainingJob(
        model=chosen.model,
        train=_read(chosen.train, probabilities=chosen.weighting.needs_probabilities),
        validation=_read(chosen.validation) if chosen.validation is not None else [],
        weighting=chosen.weighting,
        seed=chosen.seed,
        prompt=chosen.prompt,
        model_settings=chosen.loading,
        training=chosen.training,
    )


def _read(file: Path, *, probabilities: bool = False) -> list[Consultation]:
    from tarjih.data.read import read_consultations

    try:
        return read_consultations(file, require_response=True, require_probabilities=probabilities)
    except DataError as error:
        if "--" not in error.remedy:
            raise
        # The remedy names options that reading has in other commands.
        raise DataError(
            error.what,
            file=error.file,
            row=error.row,
            column=error.column,
            remedy="read it with tarjih prepare first, which can be told columns and encodings",
        ) from None
