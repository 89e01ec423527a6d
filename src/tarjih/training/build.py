"""From a training job to a model that can be trained, and the trainer that trains it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tarjih.errors import SettingsError
from tarjih.models.load import LoadedModel, chosen_hardware, load_causal_model, pad_token_id
from tarjih.models.lora import add_lora, leave_precision_to_autocast
from tarjih.training.batches import Step
from tarjih.training.checkpoints import step_of
from tarjih.training.collate import WeightedCollator
from tarjih.training.examples import EncodedConsultations, Example
from tarjih.training.job import TrainingJob
from tarjih.training.run_folder import CHECKPOINTS
from tarjih.training.settings import TrainingSettings

TENSORBOARD = "tensorboard"
_VALIDATIONS_PER_RUN = 4
_LOGS_PER_RUN = 40


def load_trainable(job: TrainingJob) -> LoadedModel:
    """Load the job's model and make trainable what its method trains.

    Raises:
        ModelError: when it cannot be loaded, or the method does not run here.
    """
    from transformers import set_seed

    settings = job.training
    loaded = load_causal_model(
        job.model,
        job.model_settings,
        # Updates are often smaller than what bfloat16 can add to a weight.
        weights_in_float32=settings.method == "full",
        four_bit=settings.method == "qlora",
    )
    set_seed(job.seed)  # the adapters' first values
    if settings.method == "full":
        return loaded
    model = add_lora(loaded.model, settings.lora)
    if settings.gradient_checkpointing:
        model.enable_input_require_grads()
    return replace(loaded, model=model)


def make_trainer(
    job: TrainingJob,
    loaded: LoadedModel,
    examples: Sequence[Example],
    steps: Sequence[Step],
    validation: EncodedConsultations | None,
    out: Path,
) -> Any:
    """A trainer that takes the planned steps."""
    from transformers import PrinterCallback

    from tarjih.training.callbacks import ValidationCallback
    from tarjih.training.trainer import SeverityWeightedTrainer

    settings = job.training
    trainer = SeverityWeightedTrainer(
        model=loaded.model,
        args=_arguments(job, loaded, len(steps), out),
        train_dataset=list(examples),
        data_collator=WeightedCollator(pad_token_id(loaded.tokenizer)),
        processing_class=loaded.tokenizer,
        steps=steps,
    )
    if trainer.args.bf16 and settings.method != "full":
        leave_precision_to_autocast(loaded.model)
    trainer.remove_callback(PrinterCallback)  # it prints every log to stdout
    if validation is not None:
        every = settings.validate_every or max(1, len(steps) // _VALIDATIONS_PER_RUN)
        trainer.add_callback(ValidationCallback(trainer, loaded, validation, every))
    return trainer


def _arguments(job: TrainingJob, loaded: LoadedModel, steps: int, out: Path) -> Any:
    from transformers import TrainingArguments

    settings = job.training
    return TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=math.ceil(settings.warmup_share * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        activation_checkpointing=settings.gradient_checkpointing,
        bf16=_mixes_precisions(job),
        save_strategy="steps",
        save_steps=settings.checkpoint_every,
        save_total_limit=2,
        logging_steps=max(1, steps // _LOGS_PER_RUN),
        disable_tqdm=True,
        report_to=[name for name in settings.report_to if name != TENSORBOARD],
        seed=job.seed,
        data_seed=job.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=loaded.device.type == "cuda",
        use_cpu=loaded.device.type == "cpu",
    )


def _mixes_precisions(job: TrainingJob) -> bool:
    """Whether what is trained is kept in float32 and multiplied in bfloat16."""
    if chosen_hardware(job.model_settings)["precision"] != "bfloat16":
        return False
    return job.training.method != "full" or job.model_settings.precision == "auto"


def refuse_unknown_trackers(settings: TrainingSettings) -> None:
    """Refuse trackers that Transformers does not know or that are not installed.

    Raises:
        SettingsError: naming them, and those to choose from.
    """
    from transformers import integrations

    available: list[str] = integrations.get_available_reporting_integrations()  # type: ignore[attr-defined,no-untyped-call]
    known = sorted({TENSORBOARD, *available})
    absent = [name for name in settings.report_to if name not in known]
    if absent:
        raise SettingsError(
            f"training.report_to names trackers that are not installed: {', '.join(absent)}",
            remedy=f"install them, or choose from: {', '.join(known)}",
        )


def tensorboard_callback(folder: Path, checkpoint: Path | None) -> Any:
    """A callback that draws the curves, on from a checkpoint or from the start.

    What an interrupted process drew beyond the checkpoint is declared void.
    """
    from torch.utils.tensorboard import SummaryWriter
    from transformers import integrations

    first_step = 0 if checkpoint is None else step_of(checkpoint) + 1
    return integrations.TensorBoardCallback(  # type: ignore[attr-defined]
        SummaryWriter(log_dir=str(folder), purge_step=first_step)  # type: ignore[no-untyped-call]
    )
