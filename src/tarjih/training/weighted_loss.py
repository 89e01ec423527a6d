"""The severity-weighted loss for any trainer that descends from Transformers' `Trainer`."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tarjih.errors import DataError, SettingsError, WorkFailedError
from tarjih.models.logits import check_logits
from tarjih.models.packing import ROW_LENGTHS
from tarjih.records import SEVERITIES
from tarjih.training.collate import FOR_THE_LOSS, IGNORED, UNKNOWN_SEVERITY
from tarjih.training.first_step import FirstStep
from tarjih.training.head import SupervisedLosses, weighted_forward

if TYPE_CHECKING:
    from transformers import Trainer
else:
    Trainer = object  # a mixin: the trainer it is mixed into brings the real one


class SeverityWeightedLoss(Trainer):
    """Makes the loss of a trainer sum w * cross-entropy / number of supervised tokens.

    The number is that of the whole optimizer step, over accumulation and over all ranks, so that
    batch 8, 4 x 2, 1 x 8 and two ranks x 4 take the same step. Batches carry `weights` beside
    `labels`, (B,) for examples or (B, T) for tokens, and may carry `severities` (B,).

    Logged beside the weighted `loss`: `plain_loss`, and `plain_loss_critical` and so on where
    severities are known, in nats per token since the last log; at the first step the norms of the
    gradient with and without weights, and the cosine between them. Evaluation gives the same names
    after `eval_`, per token of the whole evaluation set. No logits are made, so there is nothing
    that `compute_metrics` could be given.

    Use it before the trainer it changes: `class Mine(SeverityWeightedLoss, SFTTrainer)`.
    """

    # The loss is divided by the global number of tokens here. Without this flag Trainer divides
    # once more by the accumulation steps.
    loss_is_scaled_for_ga = True
    _signature_columns: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refuse_what_would_be_ignored()
        # Trainer counts the supervised tokens of a step only for models that say they want it.
        self.model_accepts_loss_kwargs = True
        check_logits(self.model)
        self._first_step = FirstStep(self.model)
        self._started = time.monotonic()
        self._resumed_history: list[dict[str, float]] = []
        self._sums = _no_sums()
        self._evaluated: list[Tensor] = []

    def _refuse_what_would_be_ignored(self) -> None:
        refused = {
            "compute_loss_func": self.compute_loss_func is not None,
            "compute_metrics": self.compute_metrics is not None,
            "label_smoothing_factor": self.args.label_smoothing_factor != 0,
            "loss_type": getattr(self.args, "loss_type", "nll") != "nll",  # TRL's
        }
        for name, given in refused.items():
            if given:
                raise SettingsError(
                    f"the severity-weighted loss takes the place of what {name} would do",
                    remedy=f"leave {name} at its default",
                )
        if self.args.n_gpu > 1:
            raise SettingsError(
                f"one process would use {self.args.n_gpu} GPUs (nn.DataParallel), which this loss "
                "does not work with",
                remedy="start it with `accelerate launch`, or set CUDA_VISIBLE_DEVICES=0",
            )

    def _set_signature_columns_if_needed(self) -> None:
        # Trainer removes what the model does not read before the collator sees it.
        super()._set_signature_columns_if_needed()
        kept = self._signature_columns or []
        missing = {"weight", "severity", *FOR_THE_LOSS} - set(kept)
        self._signature_columns = [*kept, *sorted(missing)]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
        **_others: Any,
    ) -> Any:
        """The weighted loss of a micro-batch, as its share of the whole step's loss."""
        losses = _losses(model, inputs)
        if num_items_in_batch is None:  # outside of a training step: it stands for itself
            tokens = float(len(losses.rows))
        else:
            tokens = float(num_items_in_batch)
            if self.args.average_tokens_across_devices:
                # The ranks' gradients are averaged, but this already counts the tokens of all.
                tokens /= self.accelerator.num_processes
        tokens = max(tokens, 1.0)
        if model.training:
            self._remember(losses, inputs.get("severities"))
            if self.state.global_step == 0:
                self._first_step.add_plain(losses.plain / tokens)
        loss = losses.total / tokens
        return (loss, {"loss": loss}) if return_outputs else loss

    def _remember(self, losses: SupervisedLosses, severities: Tensor | None) -> None:
        token_losses = losses.token_losses.double().cpu()
        if not math.isfinite(float(token_losses.sum())):
            raise WorkFailedError(
                f"the loss is no longer a number after step {self.state.global_step}: the "
                "training diverged\nWhat to do: lower training.learning_rate, or use "
                "precision: float32"
            )
        if severities is None:
            groups = torch.full_like(losses.rows, UNKNOWN_SEVERITY).cpu()
        else:
            groups = severities[losses.rows].cpu()
        self._sums[0].index_add_(0, groups, token_losses)
        self._sums[1].index_add_(0, groups, torch.ones_like(token_losses))

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Trainer's step; at the end of the first, the gradients are compared."""
        step = super().training_step
        losses = [step(model, part, num_items_in_batch) for part in self._passes(inputs)]
        loss = torch.stack(losses).sum()
        if self.state.global_step == 0 and self.accelerator.sync_gradients:
            compared = self._first_step.compare(self.accelerator)
            if compared is not None:
                self.log(compared)
        return loss

    def _passes(self, inputs: dict[str, Tensor | Any]) -> list[dict[str, Tensor | Any]]:
        """The forward passes that a micro-batch is cut into; a trainer may say more than one."""
        return [inputs]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, beside the weighted loss, the plain losses per token since the last log."""
        if "loss" in logs:
            logs |= self._plain_losses()
        logs["seconds"] = self.seconds()
        super().log(logs, *args, **kwargs)

    def _plain_losses(self) -> dict[str, float]:
        sums, self._sums = self._sums, _no_sums()
        if self.accelerator.num_processes > 1:
            sums = self.accelerator.reduce(sums.to(self.accelerator.device), "sum").cpu()
        return _per_token(sums)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        prediction_loss_only: bool,  # noqa: ARG002
        ignore_keys: list[str] | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, None, None]:
        """The weighted loss per token of an evaluation batch, without logits."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            losses = _losses(model, inputs)
        # Leaves out what the last batch repeats, so that all ranks have as many rows.
        rows = self.accelerator.gather_for_metrics(_sums_of_rows(losses, inputs))
        self._evaluated.append(rows.cpu())
        return losses.total / max(len(losses.rows), 1), None, None

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """Trainer's loop, but its losses are per token of the whole set.

        Trainer's own is the average of its batches' averages, which depends on how they are cut.
        """
        self._evaluated = []
        output: Any = super().evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )
        if self._evaluated:
            weighted, plain, tokens, severities = torch.cat(self._evaluated).T
            sums = _no_sums().index_add_(1, severities.long(), torch.stack([plain, tokens]))
            found = {"loss": float(weighted.sum() / tokens.sum().clamp(min=1)), **_per_token(sums)}
            output.metrics.update({f"{metric_key_prefix}_{key}": found[key] for key in found})
        return output

    def seconds(self) -> float:
        """Seconds spent on this run, those before an interruption included."""
        earlier = [entry["seconds"] for entry in self._resumed_history if "seconds" in entry]
        return (earlier[-1] if earlier else 0.0) + time.monotonic() - self._started

    def _load_callback_state(self) -> None:
        # Called once a resumed run's state is read: what it logged before is in there.
        self._resumed_history = list(self.state.log_history)
        super()._load_callback_state()


def _losses(model: nn.Module, inputs: dict[str, Tensor]) -> SupervisedLosses:
    if "weights" not in inputs:
        raise DataError(
            "batches carry no weights, so nothing would be weighted",
            remedy="give the trainer a data_collator that puts weights beside the labels: "
            "tarjih.training.collate.WeightedCollator, or WeightsBeside around another one",
        )
    weights, labels = inputs["weights"], inputs["labels"]
    rows = len(inputs.get(ROW_LENGTHS, labels))
    if weights.shape not in ((rows,), labels.shape):
        raise DataError(
            f"a batch has labels {tuple(labels.shape)} but weights {tuple(weights.shape)}",
            remedy="give each row a weight or each token one; examples that share a row (packing, "
            "padding_free) need a weight for each token",
        )
    return weighted_forward(model, inputs)


def _no_sums() -> Tensor:
    """Loss and tokens, (2, severities + 1); the last column is of unknown severity."""
    return torch.zeros(2, len(SEVERITIES) + 1, dtype=torch.float64)


def _per_token(sums: Tensor) -> dict[str, float]:
    losses, tokens = sums
    found = {"plain_loss": float(losses.sum() / tokens.sum())} if tokens.sum() else {}
    for index, severity in enumerate(SEVERITIES):
        if tokens[index]:
            found[f"plain_loss_{severity}"] = float(losses[index] / tokens[index])
    return found


def _sums_of_rows(losses: SupervisedLosses, inputs: dict[str, Tensor]) -> Tensor:
    """Weighted loss, plain loss, tokens and severity of each row of a batch, (B, 4)."""
    plain, weights = losses.token_losses.double(), inputs["weights"]
    if weights.ndim > 1:
        weights = weights[:, 1:][inputs["labels"][:, 1:] != IGNORED]
    else:
        weights = weights[losses.rows]
    of_tokens = torch.stack([weights * plain, plain, torch.ones_like(plain)], dim=1)
    rows = len(inputs["labels"])
    table = of_tokens.new_zeros(rows, 3).index_add_(0, losses.rows, of_tokens)
    unknown = table.new_full((rows,), UNKNOWN_SEVERITY)
    severities = inputs.get("severities", unknown)
    return torch.cat([table, severities.to(table).unsqueeze(1)], dim=1)
