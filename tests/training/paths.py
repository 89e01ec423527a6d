"""Training runs in float64, so that what is equal in theory is equal to many digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import PrinterCallback, Trainer, TrainingArguments

from tarjih.models.load import LoadedModel
from tarjih.models.lora import LoraSettings, add_lora
from tarjih.training.batches import Step, plan_steps
from tarjih.training.collate import WeightedCollator
from tarjih.training.examples import Example
from tarjih.training.trainer import SeverityWeightedTrainer
from tiny_models import move_adapters

Method = Literal["lora", "full"]


class InFloat64(TorchFunctionMode):
    """Float64 stays that where a model asks for float32, as for its norms and its softmax.

    Rounding there would make 1e-8 of what is equal in theory; and float64's lowest number, which
    masks BLOOM's attention, is minus infinity in float32.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                return args[0]
            args = [torch.float64 if one is torch.float32 else one for one in args]
            kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in kwargs.items()}
        return func(*args, **kwargs)


@dataclass
class Path20:
    """Where a run went: weighted loss of each step, and the weights it ended with."""

    losses: list[float]
    plain_losses: list[float]
    weights: dict[str, Tensor]
    trainer: Any


def cpu_arguments(folder: Path, **changes: Any) -> TrainingArguments:
    """Arguments of a short run on the CPU that logs every step and keeps nothing."""
    return TrainingArguments(
        output_dir=str(folder),
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        report_to=[],
        seed=3,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=True,
        **changes,
    )


def walk(
    loaded: LoadedModel,
    folder: Path,
    examples: Sequence[Example],
    *,
    steps: Sequence[Step],
    accumulation: int = 1,
    method: Method = "lora",
    recompute: bool = False,
    max_gradient_norm: float = 1.0,
    kind: Callable[..., Trainer] = SeverityWeightedTrainer,
    **arguments: Any,
) -> Path20:
    """Take planned steps from the same start."""
    torch.manual_seed(0)
    model = loaded.model
    if method == "lora":
        model = add_lora(model, LoraSettings(rank=2, dropout=0))
        move_adapters(model)
    model = model.double()
    if recompute and method == "lora":
        model.enable_input_require_grads()
    trainer = kind(
        model=model,
        args=cpu_arguments(
            folder,
            max_steps=len(steps),
            gradient_accumulation_steps=accumulation,
            learning_rate=3e-3,
            max_grad_norm=max_gradient_norm,
            activation_checkpointing=recompute,
        ),
        train_dataset=list(examples),
        data_collator=WeightedCollator(1),
        steps=steps,
        **arguments,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return Path20(
        losses=[entry["loss"] for entry in logs],
        plain_losses=[entry["plain_loss"] for entry in logs],
        weights={n: p.detach() for n, p in model.named_parameters() if p.requires_grad},
        trainer=trainer,
    )


def planned(examples: Sequence[Example], size: int, parts: int, steps: int = 20) -> list[Step]:
    """Steps of size x parts examples."""
    lengths = [len(example) for example in examples]
    return plan_steps(lengths, batch_size=size, parts=parts, seed=5, epochs=100, max_steps=steps)


def assert_same_path(found: Path20, wanted: Path20, *, relative: float = 1e-9) -> None:
    """Losses and final weights agree, and the path went somewhere."""
    assert max(wanted.losses) - min(wanted.losses) > 0.05
    # Trainer adds up losses in float32.
    torch.testing.assert_close(found.losses, wanted.losses, rtol=max(relative, 1e-6), atol=1e-6)
    assert found.weights.keys() == wanted.weights.keys()
    for name, tensor in wanted.weights.items():
        torch.testing.assert_close(
            found.weights[name], tensor, rtol=relative, atol=relative, msg=name
        )
