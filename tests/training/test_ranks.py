"""Two processes, joined by gloo, take the steps that one process takes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tarjih.files import read_json, write_json
from tarjih.models.load import LoadedModel
from tarjih.training.first_step import COSINE, PLAIN_NORM, WEIGHTED_NORM
from tiny_models import TinyFolder, make_consultations

from .paths import Path20, assert_same_path, planned, walk
from .test_equivalence import EXAMPLES

TinyModel = Callable[..., LoadedModel]
HERE = Path(__file__).parent
ACCELERATE = HERE.parents[1] / "configs" / "accelerate"


def launcher(*arguments: str, options: Sequence[str]) -> list[str]:
    """The command line of `accelerate launch` for two processes on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = (sys.executable, "-m", "accelerate.commands.launch")
    return [*program, "--main_process_port", str(port), *options, *arguments]


def environment() -> dict[str, str]:
    """Without a GPU, processes that GPUs are wanted for are joined by gloo."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


def launch(script: Path, *arguments: str, options: Sequence[str] = ("--multi_gpu",)) -> None:
    """Run a script in two processes.

    `--multi_gpu` is Accelerate's name for several processes on a machine; `--cpu` would want MPI.
    """
    shape = ("--num_processes", "2", "--num_machines", "1")
    plain = ("--mixed_precision", "no", "--dynamo_backend", "no")
    command = launcher(str(script), *arguments, options=[*shape, *plain, *options])
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=600, env=environment()
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


# The command line itself, with the settings files that docs/many-gpus.md names.


def command(config: Path, *overrides: str, ranks: str | None = "ddp") -> list[str]:
    """`tarjih train`, in one process or launched with a settings file of configs/accelerate."""
    arguments = ("train", str(config), *overrides)
    if ranks is None:
        return [sys.executable, "-m", "tarjih", *arguments]
    program = (str(HERE / "shards_on_cpu.py"),) if ranks == "fsdp2" else ("-m", "tarjih")
    options = ["--config_file", str(ACCELERATE / f"{ranks}.yaml")]
    return launcher(*program, *arguments, options=options)


def tarjih(
    config: Path, *overrides: str, ranks: str | None = "ddp"
) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(config, *overrides, ranks=ranks),
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(),
    )


@pytest.fixture
def config(tiny_folder: TinyFolder, tmp_path: Path) -> Path:
    """A run of 40 steps of 2 ranks x 4 examples, without dropout: that is drawn in each rank."""
    rows = [
        {"complaint": one.complaint, "response": one.response, **asdict(one.probabilities)}
        for one in make_consultations(44)
        if one.probabilities is not None
    ]
    for name, some in {"train": rows, "validation": rows[:5]}.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in some]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    file = tmp_path / "run.yaml"
    write_json(
        file,
        {
            "model": str(tiny_folder("qwen2")),
            "train": str(tmp_path / "train.jsonl"),
            "validation": str(tmp_path / "validation.jsonl"),
            "out": str(tmp_path / "two"),
            "weighting": "strong",
            "loading": {"precision": "float32", "device": "cpu"},
            "training": {
                "max_steps": 40,
                "epochs": 50,
                "batch_size": 4,
                "learning_rate": 1e-3,
                "max_tokens": 2048,
                "validate_every": 20,
                "checkpoint_every": 5,
                "lora": {"rank": 4, "dropout": 0},
            },
        },
    )
    return file


def assert_same_run(found: Path, wanted: Path, folder: str = "adapter") -> None:
    """The same weights, and the same curve of losses."""
    file = {"adapter": "adapter_model.safetensors", "model": "model.safetensors"}[folder]
    ours, theirs = (load_file(run / folder / file) for run in (found, wanted))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-6, msg=name)
    curves = []
    for run in (found, wanted):
        history = read_json(run / "run.json")["training"]["history"]
        names = ("loss", "weighted_loss", "validation_loss")
        curves.append([point[name] or 0 for point in history for name in names])
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)
    assert max(curves[1]) - min(loss for loss in curves[1] if loss) > 1


@pytest.mark.slow
def test_the_command_line_trains_on_two_ranks_as_on_one(config: Path, tmp_path: Path) -> None:
    one = tarjih(config, f"out={tmp_path / 'one'}", "training.batch_size=8", ranks=None)
    assert one.returncode == 0, one.stderr
    two = tarjih(config)
    assert two.returncode == 0, two.stderr[-6000:]
    assert_same_run(tmp_path / "two", tmp_path / "one")
    assert read_json(tmp_path / "two" / "run.json")["signature"]["processes"] == 2
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert names == {"adapter", "plan.json", "run.json", "tensorboard"}
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
    for told in ("steps on 44 examples", "validation loss", "Written to"):
        assert two.stdout.count(told) == 1, two.stdout
    assert two.stderr.count("44 examples,") == 1
    again = tarjih(config)  # nothing is left to do
    assert (again.returncode, again.stdout) == (0, two.stdout)
    refused = tarjih(config, "seed=2")
    assert refused.returncode != 0
    assert "holds another run (different: seed)" in refused.stderr
    assert "should not have happened" not in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_command_line_trains_on_shards_as_on_one(
    method: str, config: Path, tmp_path: Path
) -> None:
    changes = (f"training.method={method}", "training.max_steps=8")
    one = tarjih(config, f"out={tmp_path / 'one'}", "training.batch_size=8", *changes, ranks=None)
    assert one.returncode == 0, one.stderr
    two = tarjih(config, *changes, ranks="fsdp2")
    assert two.returncode == 0, two.stderr[-6000:]
    folder = "model" if method == "full" else "adapter"
    assert_same_run(tmp_path / "two", tmp_path / "one", folder)
    # The gradients of the first step are not compared where no rank has them: it was sharded.
    assert "first step:" in one.stdout
    assert "first step:" not in two.stdout


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """End a launcher and what it launched with SIGKILL; each has a process group of its own."""
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(everyone) >= 3
    for one in everyone:
        one.kill()
    psutil.wait_procs(everyone, timeout=60)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "method"), [("ddp", "lora"), ("ddp", "full"), ("fsdp2", "lora"), ("fsdp2", "full")]
)
def test_two_ranks_that_were_killed_end_as_one_that_was_not(
    ranks: str, method: str, config: Path, tmp_path: Path
) -> None:
    changed = f"training.method={method}"
    one = tarjih(config, f"out={tmp_path / 'one'}", "training.batch_size=8", changed, ranks=None)
    assert one.returncode == 0, one.stderr
    process = subprocess.Popen(
        command(config, changed, ranks=ranks),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    checkpoints = tmp_path / "two" / "checkpoints"
    deadline = time.monotonic() + 300
    while not (checkpoints / "checkpoint-10" / "complete.json").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill_all(process)
    assert not (tmp_path / "two" / "run.json").exists()
    refused = tarjih(config, changed, ranks=None)
    assert refused.returncode != 0
    assert "begun with 2 processes and would go on with 1" in refused.stderr
    resumed = tarjih(config, changed, ranks=ranks)
    assert resumed.returncode == 0, resumed.stderr[-6000:]
    assert resumed.stderr.count("going on from checkpoint-") == 1
    folder = "model" if method == "full" else "adapter"
    assert_same_run(tmp_path / "two", tmp_path / "one", folder)
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert names == {folder, "plan.json", "run.json", "tensorboard"}
