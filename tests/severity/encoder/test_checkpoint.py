from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from tarjih.severity.encoder.checkpoint import (
    Counters,
    optimizer_tensors,
    random_states,
    read_checkpoint,
    restore_optimizer,
    restore_random_states,
    write_checkpoint,
)

CPU = torch.device("cpu")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    counters = Counters(step=7, best_loss=1.0986122886681098, waited=2, finished=True)
    weights = {"a.b": torch.randn(2, 3), "c": torch.randn(4).t()}
    file = tmp_path / "deeper" / "checkpoint.safetensors"
    write_checkpoint(file, counters, {"weights": weights, "best": {}, "x": {"a.b": torch.ones(1)}})
    found, groups = read_checkpoint(file)
    assert found == counters
    assert groups.keys() == {"weights", "x"}
    assert all(torch.equal(groups["weights"][name], weights[name]) for name in weights)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    write_checkpoint(file, Counters(), {"weights": {"a": torch.ones(100)}})
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(SafetensorError):
        read_checkpoint(file)


def test_an_optimizer_and_dropout_go_on_as_if_they_had_not_stopped() -> None:
    def make() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.randn(5, 2))
        return parameter, torch.optim.AdamW([{"params": [parameter], "peak": 1}], fused=True)

    def step(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        torch.nn.functional.dropout(parameter**2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    straight, optimizer = make()
    for _ in range(3):
        step(straight, optimizer)
    kept, states = straight.detach().clone(), random_states(CPU)
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    for _ in range(3):
        step(straight, optimizer)

    resumed, optimizer = make()
    resumed.data.copy_(kept)
    restore_optimizer(optimizer, tensors)
    restore_random_states(states, CPU)
    for _ in range(3):
        step(resumed, optimizer)
    assert torch.equal(resumed, straight)
