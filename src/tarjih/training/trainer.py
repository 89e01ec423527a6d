"""Transformers' Trainer with the severity-weighted loss."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import Trainer, TrainerState

from tarjih.errors import WorkFailedError
from tarjih.models.load import output_head, refuse_unknown_logits
from tarjih.training import checkpoints
from tarjih.training.batches import LengthBucketedSampler
from tarjih.training.head import weighted_forward


class SeverityWeightedTrainer(Trainer):
    """A Trainer whose loss is sum w * cross-entropy / number of supervised tokens.

    The number is that of the whole optimizer step, over accumulation and over all ranks, so that
    batch 8, 4 x 2 and 1 x 8 take the same step. Batches carry `weights` (B,) beside `labels`.

    Args:
        lengths: tokens of each training example, for batches of similar length; None leaves the
            order to Trainer.
        Everything else as for `transformers.Trainer`.
    """

    # The loss is divided by the global number of tokens here. Without this flag Trainer divides
    # once more by the accumulation steps.
    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, lengths: Sequence[int] | None = None, **kwargs: Any) -> None:
        self._lengths = lengths
        super().__init__(*args, **kwargs)
        # Trainer counts the supervised tokens of a step only for models that say they want it.
        self.model_accepts_loss_kwargs = True
        refuse_unknown_logits(self.model)
        self._head = output_head(self.model)
        self._started = time.monotonic()
        self._resumed_history: list[dict[str, float]] = []
        self._plain_sum = 0.0
        self._plain_tokens = 0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The weighted loss of a micro-batch, as its share of the whole step's loss."""
        losses = weighted_forward(model, self._head, inputs)
        tokens = num_items_in_batch
        if tokens is None:  # outside of a training step: the batch stands for itself
            tokens = len(losses.rows)
        elif self.args.average_tokens_across_devices:
            # The ranks' gradients are averaged, but `tokens` already counts those of all ranks.
            tokens = tokens / self.accelerator.num_processes
        if model.training:
            plain_sum = float(losses.token_losses.sum())
            if not math.isfinite(plain_sum):
                raise WorkFailedError(
                    f"the loss is no longer a number after step {self.state.global_step}: the "
                    "training diverged\nWhat to do: lower training.learning_rate, or use "
                    "precision: float32"
                )
            self._plain_sum += plain_sum
            self._plain_tokens += len(losses.rows)
        loss = losses.total / max(float(tokens), 1.0)
        return (loss, {"loss": loss}) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, beside the weighted loss, the plain loss per token since the last log."""
        if "loss" in logs and self._plain_tokens:
            logs["plain_loss"] = self._plain_sum / self._plain_tokens
            self._plain_sum, self._plain_tokens = 0.0, 0
        logs["seconds"] = self.seconds()
        super().log(logs, *args, **kwargs)

    def seconds(self) -> float:
        """Seconds spent on this run, those before an interruption included."""
        earlier = [entry["seconds"] for entry in self._resumed_history if "seconds" in entry]
        return (earlier[-1] if earlier else 0.0) + time.monotonic() - self._started

    def take_over_if_last(self, checkpoint: Path) -> bool:
        """Load a checkpoint of the last step; from it, `train` would take one step too many."""
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if state.global_step < self.args.max_steps:
            return False
        self._load_from_checkpoint(str(checkpoint))
        self.state = state
        self._load_callback_state()
        return True

    def _load_callback_state(self) -> None:
        # Called once a resumed run's state is read: what it logged before is in there.
        self._resumed_history = list(self.state.log_history)
        super()._load_callback_state()

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        if self._lengths is None:
            sampler: Sampler[int] | None = super()._get_train_sampler(train_dataset)
            return sampler
        # Ranks take whole batches in turn, so the buckets are batches of one device.
        return LengthBucketedSampler(
            self._lengths, self.args.per_device_train_batch_size, self.args.seed
        )

    # Checkpoints without pickle. FSDP and DeepSpeed shard their states and keep their own formats.

    def _states_are_whole(self) -> bool:
        return not (self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        folder = Path(output_dir or str(self.args.output_dir))
        # A pickle, and not needed: run.json has the settings.
        (folder / "training_args.bin").unlink(missing_ok=True)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.world_size > 1:
            torch.distributed.barrier()
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial))
            checkpoints.write_manifest(folder / f"checkpoint-{self.state.global_step}")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.optimizer is None or not self._states_are_whole():
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            checkpoints.save_optimizer(self.optimizer, Path(output_dir))
            checkpoints.save_scheduler(self.lr_scheduler, Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or self.optimizer is None or not self._states_are_whole():
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        checkpoints.load_optimizer(self.optimizer, Path(checkpoint))
        checkpoints.load_scheduler(self.lr_scheduler, Path(checkpoint))

    def _save_rng_state(self, output_dir: str) -> None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        checkpoints.save_random_state(Path(output_dir), self.args.process_index)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            checkpoints.load_random_state(Path(checkpoint), self.args.process_index)
