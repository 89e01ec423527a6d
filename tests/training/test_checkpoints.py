from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tarjih.training.checkpoints import (
    is_intact,
    latest_intact_checkpoint,
    load_optimizer,
    load_random_state,
    load_scheduler,
    save_optimizer,
    save_random_state,
    save_scheduler,
    write_manifest,
)


def make_checkpoint(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "inner").mkdir(parents=True)
    (checkpoint / "weights").write_bytes(b"12345678")
    (checkpoint / "inner" / "state").write_bytes(b"abc")
    write_manifest(checkpoint)
    return checkpoint


def test_a_whole_checkpoint_is_intact(tmp_path: Path) -> None:
    assert is_intact(make_checkpoint(tmp_path, 3))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "weights").write_bytes(b"1234"),
        lambda path: (path / "weights").write_bytes(b"12345679"),
        lambda path: (path / "inner" / "state").unlink(),
        lambda path: (path / "complete.json").unlink(),
        lambda path: (path / "complete.json").write_text('{"weights": "0'),
    ],
    ids=["truncated", "changed", "lost", "not complete", "half a manifest"],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    before, newest = make_checkpoint(tmp_path, 9), make_checkpoint(tmp_path, 10)
    assert latest_intact_checkpoint(tmp_path) == newest  # 10 is newer than 9, though "10" < "9"
    damage(newest)
    assert not is_intact(newest)
    assert latest_intact_checkpoint(tmp_path) == before
    assert not newest.exists()


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-notes").mkdir()
    assert latest_intact_checkpoint(tmp_path) is None
    assert latest_intact_checkpoint(tmp_path / "absent") is None
    assert (tmp_path / "checkpoint-notes").is_dir()


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_goes_on_as_if_it_had_not_stopped(
    kind: Callable[..., torch.optim.Optimizer], tmp_path: Path
) -> None:
    def make() -> tuple[list[torch.nn.Parameter], Any, Any]:
        torch.manual_seed(0)
        values = [torch.nn.Parameter(torch.randn(3, 2)), torch.nn.Parameter(torch.randn(4))]
        groups = [{"params": values[:1], "weight_decay": 0.1}, {"params": values[1:]}]
        momentum = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        optimizer = kind(groups, lr=0.1, **momentum)
        return values, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

    def step(values: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        for value in values:
            value.grad = value.detach().sin()
        optimizer.step()

    values, optimizer, scheduler = make()
    for _ in range(3):
        step(values, optimizer)
        scheduler.step()
    save_optimizer(optimizer, tmp_path)
    save_scheduler(scheduler, tmp_path)
    others, restored, restored_scheduler = make()
    for other, value in zip(others, values, strict=True):
        other.data = value.detach().clone()
    load_optimizer(restored, tmp_path)
    load_scheduler(restored_scheduler, tmp_path)
    for _ in range(2):
        step(values, optimizer)
        scheduler.step()
        step(others, restored)
        restored_scheduler.step()
    for other, value in zip(others, values, strict=True):
        assert torch.equal(other, value)
    assert restored_scheduler.get_last_lr() == scheduler.get_last_lr()


def test_every_random_generator_goes_on_where_it_was(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float, float]:
        return (
            random.random(),
            float(np.random.random()),
            float(np.random.standard_normal()),
            float(torch.rand(1)),
        )

    random.gauss(0, 1)
    np.random.standard_normal()  # leaves a second draw in the generator's pocket
    save_random_state(tmp_path, rank=0)
    expected = draw()
    assert draw() != expected
    load_random_state(tmp_path, rank=0)
    assert draw() == expected
    json.loads((tmp_path / "random_state_0.json").read_text())


def test_a_rank_without_a_state_keeps_its_own(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_random_state(tmp_path, rank=3)
    assert torch.equal(torch.rand(1), expected)
