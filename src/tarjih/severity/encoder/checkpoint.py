"""Where a fine-tuning was interrupted: one file, whole or absent, from which it goes on.

Transformers' Trainer pickles optimizer and random states. Here they are tensors of a safetensors
file like the weights, and the counters are in its header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tarjih.files import atomic_file

_COUNTERS = "counters"
_SEPARATOR = "/"  # no part of a parameter's name

Tensors = dict[str, Tensor]


@dataclass(slots=True)
class Counters:
    """How far a fine-tuning is.

    Attributes:
        step: optimizer steps taken.
        best_loss: lowest validation loss so far, in nats; None before the first evaluation.
        waited: evaluations since the lowest.
        finished: whether the weights are the final ones.
    """

    step: int = 0
    best_loss: float | None = None
    waited: int = 0
    finished: bool = False


def write_checkpoint(file: Path, counters: Counters, groups: Mapping[str, Tensors]) -> None:
    """Write counters, and groups of tensors by name, atomically."""
    tensors = {
        f"{group}{_SEPARATOR}{name}": tensor.detach().contiguous()
        for group, named in groups.items()
        for name, tensor in named.items()
    }
    with atomic_file(file) as temporary:
        save_file(tensors, temporary, metadata={_COUNTERS: json.dumps(asdict(counters))})


def read_checkpoint(file: Path) -> tuple[Counters, dict[str, Tensors]]:
    """Read what `write_checkpoint` wrote.

    Raises:
        SafetensorError, KeyError, TypeError, ValueError: when the file is damaged.
    """
    groups: dict[str, Tensors] = {}
    with safe_open(file, framework="pt") as opened:
        counters = Counters(**json.loads((opened.metadata() or {})[_COUNTERS]))
        for key in opened.keys():  # noqa: SIM118 - it is no mapping
            group, _, name = key.partition(_SEPARATOR)
            groups.setdefault(group, {})[name] = opened.get_tensor(key)
    return counters, groups


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """An optimizer's state, as `index.name`; AdamW's is nothing but tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": one for index, of in state.items() for name, one in of.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put back what `optimizer_tensors` gave; rates and groups stay as they are."""
    state: dict[int, Tensors] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_states(device: torch.device) -> Tensors:
    """The states of torch's random number generators that training on `device` uses."""
    states = {"cpu": torch.random.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: Tensors, device: torch.device) -> None:
    """Put back what `random_states` gave."""
    torch.random.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
