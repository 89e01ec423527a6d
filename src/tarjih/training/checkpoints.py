"""Checkpoints that are whole or not used, and that hold no pickle.

Transformers writes optimizer, scheduler and random states with `torch.save`, which pickles. Here
tensors go into safetensors and the rest into JSON, and a manifest with the SHA-256 of each file is
written last: a checkpoint without a manifest that fits is one that was being written when the
machine died.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tarjih.errors import DataError
from tarjih.files import read_json, sha256_of_file, write_json

_MANIFEST = "complete.json"
_PREFIX = "checkpoint-"
_OPTIMIZER_TENSORS = "optimizer.safetensors"
_OPTIMIZER_SETTINGS = "optimizer.json"
_SCHEDULER = "scheduler.json"


def write_manifest(checkpoint: Path) -> None:
    """Declare a checkpoint complete."""
    files = sorted(file for file in checkpoint.rglob("*") if file.is_file())
    hashes = {
        str(file.relative_to(checkpoint)): sha256_of_file(file)
        for file in files
        if file.name != _MANIFEST
    }
    write_json(checkpoint / _MANIFEST, hashes)


def is_intact(checkpoint: Path) -> bool:
    """Whether a checkpoint is complete and unchanged."""
    try:
        hashes: dict[str, str] = read_json(checkpoint / _MANIFEST)
    except DataError:  # absent, or damaged itself
        return False
    return all(
        (checkpoint / name).is_file() and sha256_of_file(checkpoint / name) == digest
        for name, digest in hashes.items()
    )


def latest_intact_checkpoint(folder: Path) -> Path | None:
    """The newest intact checkpoint; damaged ones that are newer are removed."""
    for checkpoint in _newest_first(folder):
        if is_intact(checkpoint):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def _newest_first(folder: Path) -> Iterator[Path]:
    found = [path for path in folder.glob(f"{_PREFIX}*") if path.name[len(_PREFIX) :].isdigit()]
    yield from sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def save_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Write an optimizer's state as safetensors and JSON."""
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{name}"] = value.contiguous()
            else:
                scalars.setdefault(str(index), {})[name] = value
    save_file(tensors, folder / _OPTIMIZER_TENSORS)
    write_json(folder / _OPTIMIZER_SETTINGS, {"groups": state["param_groups"], "scalars": scalars})


def load_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Restore what `save_optimizer` wrote."""
    settings = read_json(folder / _OPTIMIZER_SETTINGS)
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in load_file(folder / _OPTIMIZER_TENSORS).items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    for index, values in settings["scalars"].items():
        state.setdefault(int(index), {}).update(values)
    groups = [
        {key: tuple(value) if key == "betas" else value for key, value in group.items()}
        for group in settings["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def save_scheduler(scheduler: Any, folder: Path) -> None:
    """Write a learning-rate scheduler's state as JSON."""
    write_json(folder / _SCHEDULER, scheduler.state_dict())


def load_scheduler(scheduler: Any, folder: Path) -> None:
    """Restore what `save_scheduler` wrote."""
    scheduler.load_state_dict(read_json(folder / _SCHEDULER))


def save_random_state(folder: Path, rank: int) -> None:
    """Write the state of every random number generator of this process as JSON."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    write_json(
        folder / f"random_state_{rank}.json",
        {
            "python": [version, list(numbers), gauss],
            "numpy": [kind, np.asarray(keys).tolist(), position, has_gauss, cached],
            "torch": torch.random.get_rng_state().numpy().tobytes().hex(),
            "cuda": [state.numpy().tobytes().hex() for state in torch.cuda.get_rng_state_all()]
            if torch.cuda.is_available()
            else [],
        },
    )


def load_random_state(folder: Path, rank: int) -> None:
    """Restore what `save_random_state` wrote; a rank that was not there keeps its fresh state."""
    file = folder / f"random_state_{rank}.json"
    if not file.is_file():
        return
    state = read_json(file)
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.random.set_rng_state(_bytes(state["torch"]))
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all([_bytes(text) for text in state["cuda"]])


def _bytes(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
