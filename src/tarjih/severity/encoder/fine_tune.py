"""Fine-tuning: planned steps, early stopping, and a checkpoint to go on from.

Transformers' Trainer is not used: what is wanted of it here is a loop of one batch a step, and its
checkpoints would have to be rewritten to hold no pickle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import cross_entropy

from tarjih.arabic.normalise import comparison_key
from tarjih.errors import DataError, WorkFailedError
from tarjih.records import SEVERITIES
from tarjih.severity.annotator import Work
from tarjih.severity.calibration import Integers
from tarjih.severity.encoder.checkpoint import (
    Counters,
    Tensors,
    optimizer_tensors,
    random_states,
    read_checkpoint,
    restore_optimizer,
    restore_random_states,
    write_checkpoint,
)
from tarjih.severity.encoder.classifier import LoadedEncoder, batches_by_length, pad
from tarjih.severity.encoder.load import hardware, load_encoder
from tarjih.severity.encoder.objective import Objective
from tarjih.severity.encoder.schedule import plan_steps, rate_factor
from tarjih.severity.encoder.scorer import BATCH_TOKENS, EncoderScorer
from tarjih.severity.encoder.settings import EncoderSettings
from tarjih.severity.folds import grouped_folds, near_duplicate_groups

CHECKPOINT = "checkpoint.safetensors"
_SECONDS_BETWEEN_CHECKPOINTS = 60.0
_LARGEST_SHARE_OF_CHECKPOINTS = 0.1  # of the time


def fine_tune(
    complaints: Sequence[str], classes: Integers, settings: EncoderSettings, work: Work
) -> EncoderScorer:
    """Fine-tune the settings' encoder on complaints with labels, (n,) indices of severities.

    The same rows, settings and seed give the same scorer on the same machine with as many threads,
    also when the work was interrupted and goes on from its checkpoint.

    Raises:
        ModelError: when the encoder cannot be used.
        DataError: when early stopping has too few complaints to be judged on.
        WorkFailedError: when the loss is no number any more.
    """
    fitted, validation = _split(complaints, classes, settings)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        encoder = load_encoder(settings)
        tokens = encoder.tokens(complaints, settings)
        run = _Run(
            encoder=encoder,
            fitted=_Rows([tokens[int(row)] for row in fitted], classes[fitted]),
            validation=_Rows([tokens[int(row)] for row in validation], classes[validation]),
            settings=settings,
            work=work,
        )
        run.to_the_end()
    return EncoderScorer(encoder, settings)


def _split(
    complaints: Sequence[str], classes: Integers, settings: EncoderSettings
) -> tuple[Integers, Integers]:
    """Rows to fit on, and rows that early stopping is judged on; near-duplicates on one side."""
    if settings.patience == 0:
        return np.arange(len(classes)), np.zeros(0, dtype=np.int64)
    keys = [comparison_key(complaint) for complaint in complaints]
    groups = near_duplicate_groups(keys, settings.near_duplicate_similarity)
    labels = [SEVERITIES[int(index)] for index in classes]
    folds = round(1 / settings.validation_share)
    try:
        return grouped_folds(labels, groups, folds=folds, seed=settings.seed)[0]
    except DataError as error:
        raise DataError(
            f"early stopping cannot be judged: {error.what}",
            remedy="give more labelled complaints, raise validation_share, or set patience to 0",
        ) from None


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    tokens: list[list[int]]
    classes: Integers

    @property
    def lengths(self) -> list[int]:
        return [len(row) for row in self.tokens]


class _Run:
    """One fine-tuning, from the start or from its checkpoint."""

    def __init__(
        self,
        encoder: LoadedEncoder,
        fitted: _Rows,
        validation: _Rows,
        settings: EncoderSettings,
        work: Work,
    ) -> None:
        self._encoder = encoder
        self._model = encoder.classifier
        self._fitted = fitted
        self._validation = validation
        self._settings = settings
        self._work = work
        self._file = None if work.folder is None else work.folder / CHECKPOINT
        self._objective = Objective(fitted.classes, settings)
        self._half = hardware(settings)["precision"] == "bfloat16"
        self._trained = self._model.trained()
        self._optimizer = self._make_optimizer()
        self._counters = Counters()
        self._best: Tensors = {}
        self._steps = plan_steps(
            fitted.lengths,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            seed=settings.seed,
        )
        self._saved_at = time.monotonic()
        self._pause = _SECONDS_BETWEEN_CHECKPOINTS

    def to_the_end(self) -> None:
        """Take all steps that are left, or as many as early stopping lets; keep the weights."""
        self._go_on()
        name = f"fine-tuning {self._settings.model}"
        with self._work.reporter.stage(name, len(self._steps)) as advance:
            advance(self._counters.step)
            while not self._is_over():
                self._step()
                advance(1)
                if self._evaluation_is_due():
                    self._evaluate()
                if time.monotonic() - self._saved_at >= self._pause:
                    self._save()
        if not self._counters.finished:
            self._finish()
        self._model.eval()

    def _is_over(self) -> bool:
        counters, patience = self._counters, self._settings.patience
        waited = 0 < patience <= counters.waited
        return counters.finished or waited or counters.step >= len(self._steps)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        settings = self._settings
        groups = []
        for of_body, rate in ((True, settings.learning_rate), (False, settings.head_learning_rate)):
            for decay in (settings.weight_decay, 0.0):
                chosen = [
                    parameter
                    for name, parameter in self._trained.items()
                    # Vectors are biases and scales of norms, which are not pulled towards 0.
                    if self._model.of_body(name) == of_body and (parameter.ndim > 1) == (decay > 0)
                ]
                groups.append({"params": chosen, "lr": rate, "peak": rate, "weight_decay": decay})
        return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)

    def _step(self) -> None:
        rows = self._steps[self._counters.step]
        factor = rate_factor(self._counters.step, len(self._steps), self._settings.warmup_share)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self._model.train()
        classes = torch.from_numpy(self._fitted.classes[rows]).to(self._encoder.device)
        loss = self._objective.loss(self._logits(self._fitted, rows), classes)
        if not math.isfinite(loss.item()):
            raise WorkFailedError(
                f"the loss is no number any more at step {self._counters.step + 1}: lower "
                "learning_rate or head_learning_rate"
            )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._trained.values(), self._settings.max_gradient_norm)
        self._optimizer.step()
        self._counters.step += 1

    def _logits(self, rows: _Rows, chosen: Sequence[int]) -> Tensor:
        device = self._encoder.device
        tokens, mask = pad([rows.tokens[row] for row in chosen], self._encoder.padding, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
            logits: Tensor = self._model(tokens, mask)
        return logits

    def _evaluation_is_due(self) -> bool:
        if self._settings.patience == 0:
            return False
        every = len(self._steps) / (self._settings.epochs * self._settings.evaluations_per_epoch)
        step = self._counters.step
        return int(step / every) > int((step - 1) / every)

    def _evaluate(self) -> None:
        """Measure the validation loss; remember the weights if it is the lowest, else wait."""
        loss = self._validation_loss()
        counters = self._counters
        if counters.best_loss is None or loss < counters.best_loss:
            counters.best_loss, counters.waited = loss, 0
            self._best = {name: one.detach().clone() for name, one in self._trained.items()}
        else:
            counters.waited += 1

    def _validation_loss(self) -> float:
        self._model.eval()
        classes = torch.from_numpy(self._validation.classes)
        total = 0.0
        with torch.inference_mode():
            budget = BATCH_TOKENS[self._encoder.device.type]
            for rows in batches_by_length(self._validation.lengths, budget):
                logits = self._logits(self._validation, rows).double().cpu()
                total += float(cross_entropy(logits, classes[rows], reduction="sum"))
        return total / len(classes)

    def _finish(self) -> None:
        if self._best:
            self._take(self._best)
            self._best = {}
        self._counters.finished = True
        if self._file is not None:
            write_checkpoint(self._file, self._counters, {"weights": dict(self._trained)})

    def _save(self) -> None:
        started = time.monotonic()
        if self._file is not None:
            groups: dict[str, Tensors] = {
                "weights": dict(self._trained),
                "best": self._best,
                "optimizer": optimizer_tensors(self._optimizer),
                "random": random_states(self._encoder.device),
            }
            write_checkpoint(self._file, self._counters, groups)
        self._saved_at = time.monotonic()
        took = self._saved_at - started
        self._pause = max(_SECONDS_BETWEEN_CHECKPOINTS, took / _LARGEST_SHARE_OF_CHECKPOINTS)

    def _go_on(self) -> None:
        """From the checkpoint, if there is one."""
        if self._file is None or not self._file.is_file():
            return
        try:
            counters, groups = read_checkpoint(self._file)
            self._take(groups["weights"])
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            self._work.reporter.warn(
                f"{self._file} is damaged ({error}); the fine-tuning begins anew"
            )
            return
        self._counters = counters
        if not counters.finished:
            self._best = groups.get("best", {})
            restore_optimizer(self._optimizer, groups["optimizer"])
            restore_random_states(groups["random"], self._encoder.device)

    def _take(self, weights: Tensors) -> None:
        shapes = {name: parameter.shape for name, parameter in self._trained.items()}
        if {name: tensor.shape for name, tensor in weights.items()} != shapes:
            raise ValueError("it is of another encoder")
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(weights[name])
