"""What each process of `accelerate launch` does in test_ranks: argv is a JSON list of tasks.

A task trains the tiny model in a folder; rank 0 leaves `losses.json` and `weights.safetensors`.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from tarjih.files import write_json
from tarjih.models.load import load_causal_model
from tarjih.training.examples import Example
from tiny_models import FLOAT32
from training.paths import planned, walk
from training.shards_on_cpu import shard_on_cpu


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if "ACCELERATE_USE_FSDP" in os.environ:
        shard_on_cpu()
    for task in json.loads(Path(sys.argv[1]).read_text()):
        run(task)


def run(task: dict[str, Any]) -> None:
    out = Path(task["out"])
    examples = [Example(*row) for row in task["examples"]]
    ranks = int(os.environ["WORLD_SIZE"])
    path = walk(
        load_causal_model(task["model"], FLOAT32),
        out / "trainer",
        examples,
        steps=planned(examples, task["size"], task["accumulation"] * ranks),
        accumulation=task["accumulation"],
        method=task["method"],
        recompute=task["recompute"],
    )
    accelerator = path.trainer.accelerator
    sharded = path.trainer.is_fsdp_enabled
    assert sharded == ("ACCELERATE_USE_FSDP" in os.environ)
    assert accelerator.num_processes == ranks == 2
    state = accelerator.get_state_dict(path.trainer.model_wrapped) if sharded else None
    if accelerator.is_main_process:
        weights = path.weights
        if state is not None:
            weights = {name: state[name] for name in weights}
        save_file(
            {name: tensor.contiguous() for name, tensor in weights.items()},
            out / "weights.safetensors",
        )
        write_json(
            out / "losses.json",
            {
                "losses": path.losses,
                "plain_losses": path.plain_losses,
                "history": path.trainer.state.log_history,
            },
        )
    accelerator.wait_for_everyone()


if __name__ == "__main__":
    main()
