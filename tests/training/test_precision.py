from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tarjih.generation.source import finished_run
from tarjih.models.load import ModelSettings
from tarjih.training import build
from tarjih.training import train as module
from tarjih.training.train import train

from .conftest import MakeJob

BFLOAT16 = ModelSettings(precision="bfloat16", device="cpu")
AUTO = ModelSettings(precision="auto", device="cpu")


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The trainers that runs make."""
    made: list[Any] = []
    make = build.make_trainer

    def keep(*args: Any) -> Any:
        made.append(make(*args))
        return made[-1]

    monkeypatch.setattr(module, "make_trainer", keep)
    return made


def losses(run: Any) -> list[float]:
    return [point.validation_loss for point in run.training.history]


def test_adapters_stay_in_float32_on_a_bfloat16_model(
    make_job: MakeJob, tmp_path: Path, trainers: list[Any]
) -> None:
    exact = train(make_job(), tmp_path / "float32")
    short = train(make_job(model_settings=BFLOAT16), tmp_path / "bfloat16")
    assert [trainer.args.bf16 for trainer in trainers] == [False, True]
    kinds = {p.requires_grad: p.dtype for p in trainers[1].model.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    assert losses(short) == pytest.approx(losses(exact), rel=0.02)
    saved = load_file(tmp_path / "bfloat16" / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


def test_what_adapters_read_is_not_turned_into_float32(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[torch.dtype] = set()

    def linear(inputs: torch.Tensor, *args: Any) -> torch.Tensor:
        if inputs.shape[-1] == 16 and inputs.ndim == 3:
            seen.add(inputs.dtype)
        return kept(inputs, *args)

    def run_trainer(*args: Any) -> None:
        seen.clear()  # of what came before the steps
        run(*args)

    kept, run = torch.nn.functional.linear, module._run_trainer
    monkeypatch.setattr(module, "_run_trainer", run_trainer)
    job = make_job(model_settings=BFLOAT16, max_steps=1, validation=[])
    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    train(job, tmp_path / "run")
    assert seen == {torch.bfloat16}


@pytest.mark.parametrize("fits", [False, True])
def test_full_fine_tuning_keeps_float32_weights_where_precision_is_left_open(
    fits: bool,
    make_job: MakeJob,
    tmp_path: Path,
    trainers: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": fits})
    train(make_job(model_settings=AUTO, method="full", max_steps=2), tmp_path / "run")
    assert trainers[0].args.bf16 is fits
    assert {p.dtype for p in trainers[0].model.parameters()} == {torch.float32}
    train(make_job(model_settings=BFLOAT16, method="full", max_steps=2), tmp_path / "short")
    assert trainers[1].args.bf16 is False
    assert {p.dtype for p in trainers[1].model.parameters()} == {torch.bfloat16}


def test_an_adapter_answers_in_the_precision_of_its_model(
    make_job: MakeJob, tmp_path: Path
) -> None:
    train(make_job(model_settings=BFLOAT16, max_steps=1), tmp_path / "run")
    loaded, _ = finished_run(tmp_path / "run").load()
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}
