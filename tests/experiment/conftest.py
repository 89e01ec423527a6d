"""An experiment that takes a second or two, and one that has been run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from small_world import config_of, labelled_file, model_folder, plan, tiny_encoder
from tarjih.experiment.run import run_experiment
from tarjih.records import ExperimentResults
from tiny_models import tiny_folder

__all__ = ["labelled_file", "model_folder", "plan", "tiny_encoder", "tiny_folder"]


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, plan: dict[str, Any]
) -> tuple[Path, ExperimentResults]:
    """base and uniform over two seeds; copy the folder before changing anything in it."""
    out = tmp_path_factory.mktemp("experiment") / "results"
    config = config_of(plan, conditions=["base", "uniform"], seeds=[1, 2])
    return out, run_experiment(config, out)
