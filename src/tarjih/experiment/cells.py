"""The cells of an experiment: what each is, and running one."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tarjih.config import ExperimentConfig
from tarjih.errors import TarjihError
from tarjih.evaluation.evaluate import measure
from tarjih.experiment.inputs import Inputs
from tarjih.files import read_json, sha256_of, write_json, write_json_lines
from tarjih.generation.generate import generate
from tarjih.generation.source import AnswerSource, base_model, finished_run
from tarjih.models.load import chosen_hardware
from tarjih.models.packaged import PREFIX, resolve_model
from tarjih.progress import Reporter, from_totals
from tarjih.records import ResultRecord, TrainingSummary, WeightSpread
from tarjih.signature import hash_of_model_folder, versions
from tarjih.training.job import TrainingJob
from tarjih.training.run_folder import PLAN, RECORD, differences
from tarjih.training.train import train
from tarjih.weighting import Weighting

# What a finished cell must agree in to be taken over; versions may differ. The folder has the seed.
_DECISIVE = ("model", "model_hash", "settings_hash", "data_hash")
_LONGEST_NAME = 60  # characters of a model's path that its folder's name keeps


@dataclass(frozen=True)
class Cell:
    """A model under a condition with a seed; no weighting means no fine-tuning."""

    model: str
    condition: str
    weighting: Weighting | None
    seed: int

    def folder(self) -> Path:
        """Where the cell's files go, relative to the results folder; no two cells share it."""
        folder = Path("cells") / _folder_name(self.model) / self.condition
        return folder if self.weighting is None else folder / f"seed-{self.seed}"

    def __str__(self) -> str:
        seed = "" if self.weighting is None else f", seed {self.seed}"
        return f"{self.model}, {self.condition}{seed}"


def _folder_name(model: str) -> str:
    """A model's name as that of a folder; one that has to change gets a hash: a/b is not a_b."""
    name = re.sub(r"[^\w.-]+", "_", model).strip("_.")
    packaged = model.startswith(PREFIX)
    if packaged or (name == model and not name.startswith("packaged_")):
        return name
    return f"{name[-_LONGEST_NAME:]}-{sha256_of(model)[:8]}".lstrip("_.-")


def plan_cells(config: ExperimentConfig) -> list[Cell]:
    """All cells, in the order in which they run. An untouched model has no seeds to differ by."""
    return [
        Cell(model, condition, weighting, seed)
        for model in config.models
        for condition, weighting in config.conditions.items()
        for seed in (config.seeds if weighting is not None else config.seeds[:1])
    ]


def run_cell(
    cell: Cell, config: ExperimentConfig, inputs: Inputs, out: Path, reporter: Reporter
) -> ResultRecord:
    """Run a cell. One that fails gives a record that says why; the experiment goes on."""
    signature: dict[str, Any] = {}
    try:
        signature = _signature(cell, config, inputs)
        record = _run(cell, config, inputs, out, reporter, signature)
    except Exception as error:
        record = ResultRecord(
            model=cell.model,
            condition=cell.condition,
            seed=cell.seed,
            status="failed",
            error=_reason(error),
            signature=signature,
        )
    write_json(_record_file(cell, out), record.model_dump(mode="json"))
    return record


def finished_record(
    cell: Cell, config: ExperimentConfig, inputs: Inputs, out: Path
) -> ResultRecord | None:
    """The record of a cell that is done with these settings and data; else None."""
    file = _record_file(cell, out)
    if not file.is_file():
        return None
    try:
        record = ResultRecord.model_validate(read_json(file))
        wanted = _signature(cell, config, inputs)
    except (TarjihError, ValidationError):
        return None
    same = all(record.signature.get(key) == wanted[key] for key in _DECISIVE)
    return record if same and record.status == "done" else None


def _record_file(cell: Cell, out: Path) -> Path:
    return out / cell.folder() / "record.json"


def _run(
    cell: Cell,
    config: ExperimentConfig,
    inputs: Inputs,
    out: Path,
    reporter: Reporter,
    signature: dict[str, Any],
) -> ResultRecord:
    folder = out / cell.folder()
    source: AnswerSource = base_model(cell.model, config.prompt, config.loading)
    training: TrainingSummary | None = None
    weights: WeightSpread | None = None
    run_folder: str | None = None
    if cell.weighting is not None:
        job = TrainingJob(
            model=cell.model,
            train=inputs.train,
            validation=inputs.validation,
            weighting=cell.weighting,
            seed=cell.seed,
            prompt=config.prompt,
            model_settings=config.loading,
            training=config.training,
        )
        _remove_other_attempt(folder / "run", job)
        run = train(job, folder / "run", reporter)
        source, training, weights = finished_run(run.folder), run.training, run.weights
        run_folder = str(cell.folder() / "run")
    answers = folder / "answers.jsonl"
    generations = generate(source, inputs.test, answers, config.generation, reporter)
    with reporter.stage("scoring", len(generations)) as advance:
        told = from_totals(advance)
        measurements = measure(generations, config.evaluation, lambda done, _: told(done))
    write_json_lines(folder / "scores.jsonl", measurements.rows())
    return ResultRecord(
        model=cell.model,
        condition=cell.condition,
        seed=cell.seed,
        status="done",
        scores=measurements.scores(),
        weights=weights,
        training=training,
        run_folder=run_folder,
        answers_file=str(cell.folder() / "answers.jsonl"),
        signature=signature,
    )


def _remove_other_attempt(run: Path, job: TrainingJob) -> None:
    """A model that was broken and is mended makes another plan; what it began is of no use."""
    begun = (run / PLAN).is_file() and not (run / RECORD).is_file()
    if begun and differences(run, job.plan()):
        shutil.rmtree(run)


def _signature(cell: Cell, config: ExperimentConfig, inputs: Inputs) -> dict[str, Any]:
    settings = {
        "weighting": None if cell.weighting is None else cell.weighting.model_dump(mode="json"),
        "prompt": config.prompt.model_dump(mode="json"),
        "loading": config.loading.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json"),
        "generation": config.generation.model_dump(mode="json"),
        "evaluation": config.evaluation.model_dump(mode="json"),
    }
    base = resolve_model(cell.model)
    return {
        "model": cell.model,
        "model_hash": hash_of_model_folder(base) if isinstance(base, Path) else None,
        "condition": cell.condition,
        "seed": cell.seed,
        "weighting": settings["weighting"],
        "settings_hash": sha256_of(settings),
        "data_hash": inputs.hashes,
        "hardware": chosen_hardware(config.loading),
        "versions": versions(),
    }


def _reason(error: Exception) -> str:
    if isinstance(error, TarjihError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
