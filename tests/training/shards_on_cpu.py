"""Lets Accelerate shard a model over processes without a GPU; or runs `tarjih` so.

Accelerate 1.15 shards over GPUs only. PyTorch's own `fully_shard` works on a CPU with gloo, and
that is what is tested: so processes are said to be of the kind that Accelerate shards over.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from accelerate import DistributedType, PartialState


def shard_on_cpu() -> None:
    """Join the processes by gloo and let Accelerate take them for GPUs."""
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    torch.distributed.init_process_group("gloo")

    def gloo(*_: Any, **__: Any) -> tuple[str, DistributedType]:
        return "gloo", DistributedType.MULTI_GPU

    PartialState._prepare_backend = gloo


if __name__ == "__main__":
    from tarjih.cli.app import main

    shard_on_cpu()
    main()
