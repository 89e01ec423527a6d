"""Transformers' Trainer with the severity-weighted loss, planned batches and safe checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerState

from tarjih.models.logits import base_model_of
from tarjih.models.packing import enable_packing, pack
from tarjih.training import checkpoints
from tarjih.training.batches import Passes, Step, parts_of_rank
from tarjih.training.collate import WeightedCollator
from tarjih.training.weighted_loss import SeverityWeightedLoss


class SeverityWeightedTrainer(SeverityWeightedLoss, Trainer):
    """A `transformers.Trainer` with the severity-weighted loss, for use where `Trainer` stood.

    Checkpoints hold safetensors and JSON, no pickle, and say when they are whole.

    Args:
        steps: what `tarjih.training.batches.plan_steps` gives, for as many parts as accumulation
            steps x ranks; the arguments' `max_steps` must be its length. None leaves the batches
            to Trainer.
        Everything else as for `transformers.Trainer`.
    """

    def __init__(self, *args: Any, steps: Sequence[Step] | None = None, **kwargs: Any) -> None:
        self._steps = steps
        super().__init__(*args, **kwargs)
        # Only our own collator's batches are rearranged: their rows are padded on the right.
        ours = isinstance(self.data_collator, WeightedCollator)
        packed = ours and enable_packing(base_model_of(self.model))
        self.passes = (
            Passes.on(self.args.device.type, self.args.world_size, packed=packed)
            if ours
            else Passes(packed=False, cut=False)
        )

    def take_over_if_last(self, checkpoint: Path) -> bool:
        """Load a checkpoint of the last step; from it, `train` would take one step too many."""
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if state.global_step < self.args.max_steps:
            return False
        self._load_from_checkpoint(str(checkpoint))
        self.state = state
        self._load_callback_state()
        return True

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The planned batches of this rank; without a plan, Trainer's own."""
        if self._steps is None:
            loader: DataLoader[Any] = super().get_train_dataloader()
            return loader
        # Not prepared by Accelerate, which would deal the batches out once more, and repeat some
        # where the ranks' shares differ.
        return DataLoader(
            cast("Dataset[Any]", self.train_dataset),
            batch_sampler=parts_of_rank(self._steps, self.args.process_index, self.args.world_size),
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def _passes(self, inputs: dict[str, Tensor | Any]) -> list[dict[str, Tensor | Any]]:
        if not (self.passes.packed or self.passes.cut):
            return [inputs]
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        passes = [
            {
                name: tensor[rows, : max(lengths[row] for row in rows)]
                if tensor.ndim > 1
                else tensor[rows]
                for name, tensor in inputs.items()
            }
            for rows in self.passes.of(lengths)
        ]
        return [pack(one) for one in passes] if self.passes.packed else passes

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
