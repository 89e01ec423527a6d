"""One training run: a model, data with severities, a weighting and a seed -> a run folder.

A run folder holds `plan.json` (what it is, written first), `checkpoints/` (while it runs),
`adapter/` (the result) and `run.json` (written last: the run is done).
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from tarjih.data.prompt import PromptSettings
from tarjih.errors import DataError, FolderError
from tarjih.files import atomic_folder, is_unclaimed, read_json, sha256_of, write_json
from tarjih.models import resolve_model
from tarjih.models.load import (
    LoadedModel,
    ModelSettings,
    check_context,
    chosen_hardware,
    load_causal_model,
    load_tokenizer,
    pad_token_id,
)
from tarjih.models.lora import add_lora
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.progress import SILENT, Reporter
from tarjih.records import Consultation, TrainingPoint, TrainingSummary, WeightSpread
from tarjih.signature import hash_of_consultations, hash_of_model_folder, versions
from tarjih.training.batches import LengthBucketedSampler, WeightedCollator, padding_share
from tarjih.training.checkpoints import latest_intact_checkpoint
from tarjih.training.examples import EncodedConsultations, encode_consultations
from tarjih.training.settings import TrainingSettings
from tarjih.weighting import (
    Weighting,
    flatness_warning,
    probabilities_of,
    severity_weights,
    weight_spread,
)

FORMAT = "tarjih.run/1"
_VALIDATIONS_PER_RUN = 4
_LOGS_PER_RUN = 40


@dataclass(frozen=True)
class TrainingJob:
    """Everything that decides the outcome of a training run."""

    model: str
    train: Sequence[Consultation]
    validation: Sequence[Consultation]
    weighting: Weighting
    seed: int
    prompt: PromptSettings
    model_settings: ModelSettings
    training: TrainingSettings

    def plan(self) -> dict[str, Any]:
        """What `plan.json` holds; two jobs with the same plan give the same run."""
        source = resolve_model(self.model)
        return {
            "format": FORMAT,
            "model": self.model,
            "model_hash": hash_of_model_folder(source) if isinstance(source, Path) else None,
            "train_hash": hash_of_consultations(self.train),
            "validation_hash": hash_of_consultations(self.validation),
            "weighting": self.weighting.model_dump(),
            "seed": self.seed,
            "prompt": self.prompt.model_dump(),
            "model_settings": self.model_settings.model_dump(),
            "training": self.training.model_dump(),
        }


@dataclass(frozen=True)
class FinishedRun:
    """A run folder that is done."""

    folder: Path
    training: TrainingSummary
    weights: WeightSpread
    signature: dict[str, Any]


def train(job: TrainingJob, out: Path, reporter: Reporter = SILENT) -> FinishedRun:
    """Fine-tune, or go on where a run in `out` stopped, or return the run that is there.

    Raises:
        FolderError: when `out` holds another run or something else.
        DataError: when examples cannot be used (before any model is loaded).
        ModelError: when the model cannot.
    """
    plan = job.plan()
    _claim_folder(out, plan)
    if (out / "run.json").is_file():
        return read_run(out)
    encoder = PromptEncoder(load_tokenizer(job.model, job.model_settings), job.prompt)
    encoded = _encode(job, job.train, encoder)
    weights = severity_weights(
        probabilities_of(encoded.kept, job.weighting),
        job.weighting,
        seed=job.seed,
        tokens=encoded.supervised_tokens,
    )
    spread = weight_spread(weights, encoded.kept)
    _report(job, encoded, spread, reporter)
    validation = _encode_validation(job, encoder)
    loaded = load_causal_model(job.model, job.model_settings)
    check_context(loaded.model, max(len(example) for example in encoded.examples))
    examples = [
        replace(example, weight=float(weight))
        for example, weight in zip(encoded.examples, weights, strict=True)
    ]
    trainer = _make_trainer(job, loaded, examples, validation, out)
    _run_trainer(trainer, latest_intact_checkpoint(out / "checkpoints"), reporter)
    with atomic_folder(out / "adapter") as folder:
        trainer.model.save_pretrained(folder)
    finished = FinishedRun(
        folder=out,
        training=_summary(trainer, job, encoded, examples),
        weights=spread,
        signature={
            "plan_hash": sha256_of(plan),
            "seed": job.seed,
            "hardware": chosen_hardware(job.model_settings),
            "versions": versions(),
        },
    )
    _write_run(finished, plan)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return finished


def read_run(folder: Path) -> FinishedRun:
    """Read a finished run.

    Raises:
        DataError: when there is no finished run in the folder, or its run.json was damaged.
    """
    raw = read_json(folder / "run.json")
    try:
        return FinishedRun(
            folder=folder,
            training=TrainingSummary.model_validate(raw["training"]),
            weights=WeightSpread.model_validate(raw["weights"]),
            signature=raw["signature"],
        )
    except (KeyError, TypeError, ValidationError):
        raise damaged_run(folder) from None


def damaged_run(folder: Path) -> DataError:
    """The error for a run folder whose record cannot be used."""
    return DataError(
        "this is not the record of a training run, or it was damaged",
        file=folder / "run.json",
        remedy="remove the folder and train again",
    )


def _write_run(finished: FinishedRun, plan: dict[str, Any]) -> None:
    write_json(
        finished.folder / "run.json",
        {
            **plan,
            "training_settings": plan["training"],
            "training": finished.training.model_dump(),
            "weights": finished.weights.model_dump(),
            "signature": finished.signature,
        },
    )


def _claim_folder(out: Path, plan: dict[str, Any]) -> None:
    planned = out / "plan.json"
    if planned.is_file():
        earlier = read_json(planned)
        different = sorted(key for key in plan if earlier.get(key) != plan[key])
        if different:
            raise FolderError(
                f"this folder holds another run (different: {', '.join(different)})",
                file=out,
                remedy="choose another folder, or remove this one if it is no longer needed",
            )
        return
    if not is_unclaimed(out, planned.name):
        raise FolderError(
            "this folder is not empty and holds no run of ours",
            file=out,
            remedy="choose another folder",
        )
    write_json(planned, plan)


def _encode(
    job: TrainingJob, consultations: Sequence[Consultation], encoder: PromptEncoder
) -> EncodedConsultations:
    return encode_consultations(
        consultations,
        encoder,
        max_tokens=job.training.max_tokens,
        long_responses=job.training.long_responses,
    )


def _encode_validation(job: TrainingJob, encoder: PromptEncoder) -> EncodedConsultations | None:
    count = min(job.training.validation_examples, len(job.validation))
    if not count:
        return None
    chosen = np.random.default_rng(0).permutation(len(job.validation))[:count]
    return _encode(job, [job.validation[index] for index in sorted(chosen)], encoder)


def _report(
    job: TrainingJob, encoded: EncodedConsultations, spread: WeightSpread, reporter: Reporter
) -> None:
    reporter.note(
        f"{len(encoded.examples)} examples, {encoded.supervised_tokens.sum()} supervised tokens; "
        f"weights {spread.p05:.3f} to {spread.p95:.3f} (5th to 95th percentile), "
        f"effective sample {spread.effective_sample_share:.1%}"
    )
    if encoded.truncated_complaints:
        reporter.warn(
            f"{encoded.truncated_complaints} complaints were shortened to fit "
            f"max_tokens = {job.training.max_tokens}"
        )
    if encoded.dropped_long_responses:
        reporter.warn(
            f"{encoded.dropped_long_responses} examples were left out: their responses exceed "
            f"max_tokens = {job.training.max_tokens}"
        )
    warning = flatness_warning(spread, job.weighting)
    if warning is not None:
        reporter.warn(warning)


def _run_trainer(trainer: Any, checkpoint: Path | None, reporter: Reporter) -> None:
    from tarjih.training.callbacks import ProgressCallback

    if checkpoint is not None:
        reporter.note(f"going on from {checkpoint.name}")
        if trainer.take_over_if_last(checkpoint):
            return
    with reporter.stage("training", trainer.args.max_steps) as advance, warnings.catch_warnings():
        # torch's own note about a state it saved itself
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        trainer.add_callback(ProgressCallback(advance))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _make_trainer(
    job: TrainingJob,
    loaded: LoadedModel,
    examples: Sequence[Any],
    validation: EncodedConsultations | None,
    out: Path,
) -> Any:
    from transformers import PrinterCallback, TrainingArguments, set_seed

    from tarjih.training.callbacks import ValidationCallback
    from tarjih.training.trainer import SeverityWeightedTrainer

    settings = job.training
    steps = total_steps(settings, len(examples))
    set_seed(job.seed)  # the adapters' first values
    model = add_lora(loaded.model, settings.lora)
    if settings.gradient_checkpointing:
        model.enable_input_require_grads()
    args = TrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=math.ceil(settings.warmup_share * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        activation_checkpointing=settings.gradient_checkpointing,
        save_strategy="steps",
        save_steps=settings.checkpoint_every,
        save_total_limit=2,
        logging_steps=max(1, steps // _LOGS_PER_RUN),
        disable_tqdm=True,
        report_to=[],
        seed=job.seed,
        data_seed=job.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=loaded.device.type == "cuda",
        use_cpu=loaded.device.type == "cpu",
    )
    trainer = SeverityWeightedTrainer(
        model=model,
        args=args,
        train_dataset=examples,
        data_collator=WeightedCollator(pad_token_id(loaded.tokenizer)),
        processing_class=loaded.tokenizer,
        lengths=[len(example) for example in examples],
    )
    trainer.remove_callback(PrinterCallback)  # it prints every log to stdout
    if validation is not None:
        every = settings.validate_every or max(1, steps // _VALIDATIONS_PER_RUN)
        trainer.add_callback(
            ValidationCallback(trainer, replace(loaded, model=model), validation, every)
        )
    return trainer


def total_steps(settings: TrainingSettings, examples: int, ranks: int = 1) -> int:
    """Optimizer steps of a run, for plans and time estimates."""
    batches = math.ceil(examples / (settings.batch_size * ranks))
    steps = math.ceil(math.ceil(batches / settings.accumulation_steps) * settings.epochs)
    return max(1, steps if settings.max_steps is None else min(steps, settings.max_steps))


def _summary(
    trainer: Any, job: TrainingJob, encoded: EncodedConsultations, examples: Sequence[Any]
) -> TrainingSummary:
    lengths = [len(example) for example in examples]
    size = job.training.batch_size
    order = list(LengthBucketedSampler(lengths, size, job.seed))
    points: dict[int, dict[str, Any]] = {}
    for entry in trainer.state.log_history:
        points.setdefault(entry["step"], {}).update(entry)
    history = [
        TrainingPoint(
            step=step,
            loss=entry.get("plain_loss"),
            weighted_loss=entry.get("loss"),
            validation_loss=entry.get("validation_loss"),
            learning_rate=entry.get("learning_rate"),
        )
        for step, entry in sorted(points.items())
    ]
    return TrainingSummary(
        steps=trainer.state.global_step,
        seconds=trainer.seconds(),
        examples=len(examples),
        supervised_tokens=int(encoded.supervised_tokens.sum()),
        padding_share=padding_share(lengths, order, size),
        truncated_complaints=encoded.truncated_complaints,
        dropped_long_responses=encoded.dropped_long_responses,
        trainable_parameters=sum(
            parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad
        ),
        history=history,
    )
