"""What a training run does beside its steps: tell its progress, measure the validation loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers import TrainerCallback

from tarjih.models.load import LoadedModel
from tarjih.progress import Advance
from tarjih.records import SEVERITIES
from tarjih.training.examples import EncodedConsultations
from tarjih.training.held_out import response_losses

_VALIDATION_BATCH = 16


class ProgressCallback(TrainerCallback):
    """Tells of each optimizer step."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin at the step from which a resumed run goes on."""
        self._advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One step more."""
        self._advance(1)


class ValidationCallback(TrainerCallback):
    """Measures the plain loss per response token on validation examples, at regular steps."""

    def __init__(
        self, trainer: Any, loaded: LoadedModel, validation: EncodedConsultations, every: int
    ) -> None:
        self._trainer = trainer
        self._loaded = loaded
        self._validation = validation
        self._every = every

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the untouched model, unless the run is a resumed one."""
        if state.global_step == 0:
            self._measure()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure at every n-th step and at the last one."""
        if state.global_step % self._every == 0 or state.global_step >= state.max_steps:
            # Logging here answers Trainer's own wish to log, and this step's loss would be lost.
            wanted = control.should_log
            self._measure()
            control.should_log = wanted

    def _measure(self) -> None:
        sums = response_losses(
            self._loaded, self._validation.examples, batch_size=_VALIDATION_BATCH
        )
        tokens = self._validation.supervised_tokens
        logs = {"eval_loss": float(sums.sum() / tokens.sum())}
        severities = np.array([str(one.severity) for one in self._validation.kept])
        for severity in SEVERITIES:
            chosen = severities == str(severity)
            if chosen.any():
                logs[f"eval_loss_{severity}"] = float(sums[chosen].sum() / tokens[chosen].sum())
        self._trainer.log(logs)
