"""Two processes, joined by gloo, take the steps that one process takes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tarjih.files import read_json, write_json
from tarjih.models.load import LoadedModel
from tarjih.training.first_step import COSINE, PLAIN_NORM, WEIGHTED_NORM
from tiny_models import TinyFolder

from .paths import Path20, assert_same_path, planned, walk
from .test_equivalence import EXAMPLES

TinyModel = Callable[..., LoadedModel]
HERE = Path(__file__).parent


def launch(script: Path, *arguments: str, options: Sequence[str] = ("--multi_gpu",)) -> None:
    """`accelerate launch` of two processes; without a GPU they are joined by gloo.

    `--multi_gpu` is its name for several processes on a machine; `--cpu` would want MPI.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--main_process_port", str(port), *options, str(script), *arguments),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.returncode == 0, done.stderr[-6000:]


def task(folder: Path, model: Path, **changes: Any) -> dict[str, Any]:
    folder.mkdir()
    return {
        "out": str(folder),
        "model": str(model),
        "examples": [[one.prompt_ids, one.response_ids, one.weight] for one in EXAMPLES],
        "size": 4,
        "accumulation": 1,
        "method": "lora",
        "recompute": False,
        **changes,
    }


def found(folder: Path) -> tuple[Path20, dict[str, Any]]:
    record = read_json(folder / "losses.json")
    weights = load_file(folder / "weights.safetensors")
    return Path20(record["losses"], record["plain_losses"], weights, None), record


@pytest.mark.slow
def test_two_ranks_take_the_path_of_one(
    tiny_folder: TinyFolder, tiny_model: TinyModel, tmp_path: Path
) -> None:
    model = tiny_folder("qwen2")
    tasks = {
        "halves": task(tmp_path / "halves", model),
        "accumulated": task(tmp_path / "accumulated", model, size=2, accumulation=2),
        "full": task(tmp_path / "full", model, method="full"),
        "recomputed": task(tmp_path / "recomputed", model, size=1, accumulation=4, recompute=True),
    }
    write_json(tmp_path / "tasks.json", list(tasks.values()))
    launch(HERE / "on_ranks.py", str(tmp_path / "tasks.json"))
    for name, one in tasks.items():
        whole = walk(
            tiny_model("qwen2"),
            tmp_path / "one",
            EXAMPLES,
            steps=planned(EXAMPLES, 8, 1),
            method=one["method"],
        )
        path, record = found(tmp_path / name)
        assert_same_path(path, whole)
        torch.testing.assert_close(path.plain_losses, whole.plain_losses, rtol=1e-6, atol=1e-6)
        first, expected = record["history"][0], whole.trainer.state.log_history[0]
        for key in (WEIGHTED_NORM, PLAIN_NORM, COSINE):
            assert first[key] == pytest.approx(expected[key], rel=1e-6)
        assert abs(expected[COSINE] - 1) > 1e-6


@pytest.mark.slow
def test_fully_sharded_ranks_take_the_path_of_one(
    tiny_folder: TinyFolder, tiny_model: TinyModel, tmp_path: Path
) -> None:
    model = tiny_folder("qwen2")
    tasks = {method: task(tmp_path / method, model, method=method) for method in ("full", "lora")}
    write_json(tmp_path / "tasks.json", list(tasks.values()))
    options = [
        *("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"),
        *("--fsdp_transformer_layer_cls_to_wrap", "Qwen2DecoderLayer"),
        *("--fsdp_state_dict_type", "FULL_STATE_DICT"),
    ]
    launch(HERE / "on_ranks.py", str(tmp_path / "tasks.json"), options=options)
    for name in tasks:
        whole = walk(
            tiny_model("qwen2"),
            tmp_path / "one",
            EXAMPLES,
            steps=planned(EXAMPLES, 8, 1),
            method=name,  # type: ignore[arg-type]
        )
        path, _ = found(tmp_path / name)
        assert_same_path(path, whole, relative=1e-6)
