"""The folder of a training run.

It holds `plan.json` (what it is, written first), `checkpoints/` (while it runs), `tensorboard/`
(the curves), `adapter/` or, after full fine-tuning, `model/` (the result), and `run.json` (written
last: the run is done).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tarjih.errors import DataError, FolderError
from tarjih.files import is_unclaimed, read_json, write_json
from tarjih.records import TrainingSummary, WeightSpread

PLAN = "plan.json"
RECORD = "run.json"
CHECKPOINTS = "checkpoints"
ADAPTER = "adapter"
MODEL = "model"


@dataclass(frozen=True)
class FinishedRun:
    """A run folder that is done."""

    folder: Path
    training: TrainingSummary
    weights: WeightSpread
    signature: dict[str, Any]


def refuse_other_folder(out: Path, plan: dict[str, Any]) -> None:
    """Refuse a folder that is neither free nor that of a planned run; write nothing.

    Raises:
        FolderError: when it holds another run or something else.
    """
    planned = out / PLAN
    if planned.is_file():
        different = differences(out, plan)
        if different:
            raise FolderError(
                f"this folder holds another run (different: {', '.join(different)})",
                file=out,
                remedy="choose another folder, or remove this one if it is no longer needed",
            )
        return
    if not is_unclaimed(out, PLAN):
        raise FolderError(
            "this folder is not empty and holds no run of ours",
            file=out,
            remedy="choose another folder",
        )


def differences(out: Path, plan: dict[str, Any]) -> list[str]:
    """Names of what a plan and the one in a run's folder say differently."""
    earlier = read_json(out / PLAN)
    return sorted(key for key in plan if earlier.get(key) != plan[key])


def claim_folder(out: Path, plan: dict[str, Any], processes: int) -> None:
    """Make a folder that of a planned run on so many processes, or find that it is.

    Do it when the run can begin: who follows an error's advice has another plan, and the folder
    would be refused to it.

    Raises:
        FolderError: when the run was begun by another number of processes.
    """
    planned = out / PLAN
    if not planned.is_file():
        write_json(planned, {**plan, "processes": processes})
        return
    begun = read_json(planned).get("processes")
    if begun != processes:
        raise FolderError(
            f"this run was begun with {begun} process{'es' * (begun != 1)} and would go on with "
            f"{processes}: its steps would have other examples",
            file=out,
            remedy=f"start it with {begun} again, or train in another folder",
        )


def write_run(finished: FinishedRun, plan: dict[str, Any]) -> None:
    """Declare a run done."""
    write_json(
        finished.folder / RECORD,
        {
            **plan,
            "training_settings": plan["training"],
            "training": finished.training.model_dump(),
            "weights": finished.weights.model_dump(),
            "signature": finished.signature,
        },
    )


def read_run(folder: Path) -> FinishedRun:
    """Read a finished run.

    Raises:
        DataError: when there is no finished run in the folder, or its run.json was damaged.
    """
    raw = read_json(folder / RECORD)
    try:
        return FinishedRun(
            folder=folder,
            training=TrainingSummary.model_validate(raw["training"]),
            weights=WeightSpread.model_validate(raw["weights"]),
            signature=raw["signature"],
        )
    except (KeyError, TypeError, ValidationError):
        raise damaged_run(folder) from None


def damaged_run(folder: Path) -> DataError:
    """The error for a run folder whose record cannot be used."""
    return DataError(
        "this is not the record of a training run, or it was damaged",
        file=folder / RECORD,
        remedy="remove the folder and train again",
    )
