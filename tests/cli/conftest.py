"""The command line in this process and in others, on a world small enough to be quick."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import Finished, run_here
from small_world import (
    labelled_file,
    model_folder,
    plan,
    plan_file,
    tiny_encoder,
)
from tiny_models import tiny_folder

__all__ = ["labelled_file", "model_folder", "plan", "plan_file", "tiny_encoder", "tiny_folder"]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A terminal of 80 columns; and the command line's quiet does not outlive a test."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("TOKENIZERS_PARALLELISM", "TRANSFORMERS_VERBOSITY", "TARJIH_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def annotator(tmp_path_factory: pytest.TempPathFactory, labelled_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("annotator") / "model"
    fitted = fit(labelled_file, folder)
    assert fitted.code == 0, fitted.shown
    return folder


@pytest.fixture(scope="session")
def scored_file(
    tmp_path_factory: pytest.TempPathFactory, annotator: Path, labelled_file: Path
) -> Path:
    file = tmp_path_factory.mktemp("scored") / "scored.parquet"
    done = run_here("severity", "score", annotator, labelled_file, "--out", file)
    assert done.code == 0, done.shown
    return file


def fit(labelled: Path, folder: Path) -> Finished:
    return run_here("severity", "fit", labelled, "--out", folder, "folds=2", "min_complaints=1")
