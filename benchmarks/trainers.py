"""The contenders of train_step.py: each trains the same LoRA on the same examples, measured alike.

What each one is, and why, is said there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from side_by_side import PeakMemory, now
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

from tarjih.data.prompt import PromptSettings
from tarjih.generation.source import finished_run
from tarjih.models.load import LoadedModel, ModelSettings, load_causal_model, pad_token_id
from tarjih.models.lora import LoraSettings, add_lora
from tarjih.progress import Advance, Reporter
from tarjih.records import Consultation
from tarjih.training.examples import Example
from tarjih.training.held_out import response_losses
from tarjih.training.job import TrainingJob
from tarjih.training.settings import TrainingSettings
from tarjih.training.train import train
from tarjih.weighting import PRESETS, Weighting

PER_STEP = 8
LONGEST = 512
SEED = 1
LEARNING_RATE = 2e-4
TARJIH = "tarjih"
PAPER = "the paper's recipe"
TRL = "TRL SFTTrainer"
_CUTS = {
    "8": {},
    "4 x 2": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "2 x 4": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    "1 x 8": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
}
WAYS: dict[str, dict[str, dict[str, Any]]] = {
    TARJIH: {"8": _CUTS["8"]},
    TRL: {
        **_CUTS,
        "8 padding-free": {"padding_free": True},
        "8 mixed precision": {"bf16": True},
        "8 full logits": {"full_logits": True},
    },
    PAPER: {"1 x 8": _CUTS["1 x 8"]},
}


class Stopwatch:
    """What is measured of the optimizer steps; the first `untimed` of them warm up."""

    def __init__(self, untimed: int) -> None:
        self.untimed = untimed
        self.ends: list[float] = []

    def start(self) -> None:
        """The model is loaded; training begins."""
        self.memory = PeakMemory()
        self.ends.append(now())

    def step_ended(self) -> None:
        """An optimizer step is done."""
        self.ends.append(now())

    def result(self, tokens: int, padding: float) -> dict[str, Any]:
        """What a child prints, but for the loss."""
        return {
            "seconds": self.ends[-1] - self.ends[self.untimed],
            "peak": self.memory.peak(),
            "extra": self.memory.extra(),
            "tokens": tokens,
            "padding": padding,
        }


class StopwatchReporter(Reporter):
    """Tells the stopwatch what tarjih's training tells of its progress."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """The stage of training is what is measured."""
        del total

        def advance(steps: int) -> None:
            if name == "training" and steps:
                self.stopwatch.step_ended()

        if name == "training":
            self.stopwatch.start()
        yield advance


def run_tarjih(task: Task, way: dict[str, Any]) -> dict[str, Any]:
    """One run of `train`."""
    alpha, beta, gamma = PRESETS["balanced"]
    job = TrainingJob(
        model=task.model,
        train=task.rows,
        validation=[],
        weighting=Weighting(alpha=alpha, beta=beta, gamma=gamma),
        seed=SEED,
        prompt=PromptSettings(),
        model_settings=task.settings,
        training=TrainingSettings(
            batch_size=way.get("per_device_train_batch_size", PER_STEP),
            accumulation_steps=way.get("gradient_accumulation_steps", 1),
            epochs=task.passes,
            max_tokens=LONGEST,
            learning_rate=LEARNING_RATE,
            warmup_share=0.0,
            validation_examples=0,
            checkpoint_every=task.passes * task.steps + 1,
            report_to=[],
            lora=LoraSettings(),
        ),
    )
    stopwatch = Stopwatch(task.untimed)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        summary = train(job, run, StopwatchReporter(stopwatch)).training
        result = stopwatch.result(task.tokens, summary.padding_share)
        return {**result, "loss": task.loss(finished_run(run).load()[0])}


class StopwatchCallback(TrainerCallback):
    """Tells the stopwatch of the steps of a Trainer."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An optimizer step is done."""
        del args, state, control, kwargs
        self.stopwatch.step_ended()


@dataclass(frozen=True)
class Task:
    """What a child trains."""

    model: str
    settings: ModelSettings
    steps: int
    passes: int
    rows: list[Consultation]
    examples: list[Example]

    @property
    def untimed(self) -> int:
        """Steps of all passes but the last."""
        return (self.passes - 1) * self.steps

    @property
    def tokens(self) -> int:
        """Tokens of all examples, without padding."""
        return sum(map(len, self.examples))

    def loss(self, loaded: LoadedModel) -> float:
        """A model's loss on the responses of all examples, in nats a token."""
        sums = response_losses(loaded, self.examples, batch_size=PER_STEP)
        return float(sums.sum() / sum(len(example.response_ids) for example in self.examples))

    def load(self, settings: ModelSettings | None = None) -> LoadedModel:
        """The model with fresh adapters."""
        loaded = load_causal_model(self.model, settings or self.settings)
        for parameter in loaded.model.parameters():
            parameter.detach().sum()  # a mapped file is resident once it was read
        set_seed(SEED)
        return replace(loaded, model=add_lora(loaded.model, LoraSettings()))

    def arguments(self, device: torch.device, **changed: Any) -> dict[str, Any]:
        """What all Trainers are told, as tarjih tells its own."""
        return {
            "output_dir": tempfile.gettempdir(),
            "num_train_epochs": self.passes,
            "per_device_train_batch_size": PER_STEP,
            "gradient_accumulation_steps": 1,
            "learning_rate": LEARNING_RATE,
            "gradient_checkpointing": False,
            "train_sampling_strategy": "group_by_length",
            "bf16": False,
            "save_strategy": "no",
            "logging_steps": 1,
            "disable_tqdm": True,
            "report_to": [],
            "seed": SEED,
            "remove_unused_columns": False,
            "dataloader_pin_memory": device.type == "cuda",
            "use_cpu": device.type == "cpu",
            **changed,
        }


def measured(trainer: Any, loaded: LoadedModel, task: Task) -> dict[str, Any]:
    """Run a Trainer under the stopwatch, counting the positions that it puts through the model."""
    positions = 0

    def count(_embedding: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        nonlocal positions
        positions += inputs[0].numel() * torch.is_grad_enabled()  # not those of mere metrics

    stopwatch = Stopwatch(task.untimed)
    trainer.add_callback(StopwatchCallback(stopwatch))
    trainer.model.get_input_embeddings().register_forward_hook(count)
    stopwatch.start()
    trainer.train()
    result = stopwatch.result(task.tokens, 1 - task.passes * task.tokens / positions)
    return {**result, "loss": task.loss(loaded)}


def run_trl(task: Task, way: dict[str, Any]) -> dict[str, Any]:
    """SFTTrainer on tokens that are there already."""
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    changed = dict(way)
    full_logits = changed.pop("full_logits", False)
    settings = task.settings
    if changed.get("bf16"):  # weights in float32, products in bfloat16
        settings = settings.model_copy(update={"precision": "float32"})
    loaded = task.load(settings)
    data = Dataset.from_list(
        [
            {
                "input_ids": example.prompt_ids + example.response_ids,
                "completion_mask": [0] * len(example.prompt_ids) + [1] * len(example.response_ids),
            }
            for example in task.examples
        ]
    )
    told = task.arguments(loaded.device, completion_only_loss=True, max_length=None, **changed)
    del told["remove_unused_columns"]
    trainer = SFTTrainer(
        model=loaded.model,
        args=SFTConfig(**told),
        train_dataset=data,
        processing_class=loaded.tokenizer,
        compute_loss_func=_own_loss(loaded.model) if full_logits else None,
    )
    return measured(trainer, loaded, task)


def _own_loss(model: Any) -> Callable[..., Any]:
    """The loss that Transformers itself takes of full logits."""
    vocabulary = model.config.get_text_config().vocab_size

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Any:
        return model.loss_function(
            outputs.logits, labels, vocabulary, num_items_in_batch=num_items_in_batch
        )

    return loss


def _padding(
    pad: int, width: int | None = None
) -> Callable[[Sequence[dict[str, Any]]], dict[str, Tensor]]:
    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        longest = width or max(len(row["input_ids"]) for row in rows)

        def filled(key: str, value: int) -> Tensor:
            return torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in rows])

        lengths = torch.tensor([[len(row["input_ids"])] for row in rows])
        return {
            "input_ids": filled("input_ids", pad),
            "labels": filled("labels", -100),
            "attention_mask": (torch.arange(longest) < lengths).long(),
            **({"weight": torch.tensor([row["weight"] for row in rows])} if width else {}),
        }

    return collate


class PaperTrainer(Trainer):
    """The recipe as published: w times the mean loss of all positions, padding too."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The weighted loss of full logits."""
        del num_items_in_batch
        output = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        logits = output.logits[:, :-1].contiguous()
        losses = torch.nn.functional.cross_entropy(
            logits.view(-1, logits.shape[-1]),
            inputs["input_ids"][:, 1:].flatten(),
            reduction="none",
        )
        loss = (inputs["weight"].repeat_interleave(LONGEST - 1) * losses).mean()
        return (loss, output) if return_outputs else loss


def run_paper(task: Task, way: dict[str, Any]) -> dict[str, Any]:
    """The published notebook's recipe."""
    loaded = task.load(task.settings.model_copy(update={"precision": "float32"}))
    balanced = PRESETS["balanced"]
    data = []
    for row, example in zip(task.rows, task.examples, strict=True):
        assert row.probabilities is not None
        ids = example.prompt_ids + example.response_ids
        pairs = zip(balanced, row.probabilities.as_tuple(), strict=True)
        data.append({"input_ids": ids, "labels": ids, "weight": sum(a * p for a, p in pairs)})
    told = task.arguments(loaded.device, train_sampling_strategy="random", **way)
    trainer = PaperTrainer(
        model=loaded.model,
        args=TrainingArguments(**told),
        train_dataset=data,
        data_collator=_padding(pad_token_id(loaded.tokenizer), LONGEST),
    )
    return measured(trainer, loaded, task)


RUNS: dict[str, Callable[[Task, dict[str, Any]], dict[str, Any]]] = {
    TARJIH: run_tarjih,
    TRL: run_trl,
    PAPER: run_paper,
}
