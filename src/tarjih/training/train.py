"""One training run: a model, data with severities, a weighting and a seed -> a run folder."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tarjih.files import atomic_folder, sha256_of
from tarjih.models.load import LoadedModel, check_context, chosen_hardware, load_tokenizer
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.progress import SILENT, Reporter
from tarjih.signature import versions
from tarjih.training.batches import Step
from tarjih.training.build import (
    TENSORBOARD,
    load_trainable,
    make_trainer,
    refuse_unknown_trackers,
    tensorboard_callback,
)
from tarjih.training.checkpoints import latest_intact_checkpoint
from tarjih.training.examples import EncodedConsultations, encode_consultations
from tarjih.training.job import TrainingJob
from tarjih.training.ranks import first_one_first, join_ranks, reporter_of
from tarjih.training.run_folder import (
    ADAPTER,
    CHECKPOINTS,
    MODEL,
    RECORD,
    FinishedRun,
    claim_folder,
    read_run,
    refuse_other_folder,
    write_run,
)
from tarjih.training.summary import summarise
from tarjih.training.weighed import WeighedExamples, weigh_examples
from tarjih.weighting import flatness_warning


def train(job: TrainingJob, out: Path, reporter: Reporter = SILENT) -> FinishedRun:
    """Fine-tune, or go on where a run in `out` stopped, or return the run that is there.

    Under `accelerate launch` every process calls this, and the first one writes.

    Raises:
        FolderError: when `out` holds another run or something else.
        DataError: when examples cannot be used (before any model is loaded).
        SettingsError: when a tracker in `report_to` is unknown (before any model is loaded).
        ModelError: when the model cannot.
    """
    plan = job.plan()
    ranks = join_ranks(job.model_settings)
    reporter = reporter_of(ranks, reporter)
    with first_one_first(ranks):
        refuse_other_folder(out, plan)
    if (out / RECORD).is_file():
        return read_run(out)
    refuse_unknown_trackers(job.training)
    encoder = PromptEncoder(load_tokenizer(job.model, job.model_settings), job.prompt)
    weighed = weigh_examples(
        job.train, encoder, weighting=job.weighting, training=job.training, seed=job.seed
    )
    _report_examples(job, weighed, reporter)
    validation = _encode_validation(job, encoder)
    steps = weighed.steps(job.training, job.seed, ranks=ranks.num_processes)
    loaded = load_trainable(job)
    check_context(loaded.model, max(len(example) for example in weighed.encoded.examples))
    _report_model(job, loaded, reporter)
    with first_one_first(ranks):
        claim_folder(out, plan, ranks.num_processes)
        checkpoint = latest_intact_checkpoint(out / CHECKPOINTS)
    trainer = make_trainer(job, loaded, weighed.examples, steps, validation, out)
    if TENSORBOARD in job.training.report_to and ranks.is_main_process:
        trainer.add_callback(tensorboard_callback(out / TENSORBOARD, checkpoint))
    _run_trainer(trainer, checkpoint, reporter)
    return _finish(trainer, job, plan, weighed, steps, out)


def _encode_validation(job: TrainingJob, encoder: PromptEncoder) -> EncodedConsultations | None:
    count = min(job.training.validation_examples, len(job.validation))
    if not count:
        return None
    chosen = np.random.default_rng(0).permutation(len(job.validation))[:count]
    return encode_consultations(
        [job.validation[index] for index in sorted(chosen)],
        encoder,
        max_tokens=job.training.max_tokens,
        long_responses=job.training.long_responses,
    )


def _report_examples(job: TrainingJob, weighed: WeighedExamples, reporter: Reporter) -> None:
    encoded, spread = weighed.encoded, weighed.spread
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


def _report_model(job: TrainingJob, loaded: LoadedModel, reporter: Reporter) -> None:
    trained = sum(p.numel() for p in loaded.model.parameters() if p.requires_grad)
    layers = getattr(loaded.model, "targeted_module_names", None)
    if layers is None:
        reporter.note(f"full fine-tuning of {trained:,} parameters")
        return
    names = sorted({name.rsplit(".", 1)[-1] for name in layers})
    reporter.note(
        f"LoRA of rank {job.training.lora.rank} on {len(layers)} layers ({', '.join(names)}): "
        f"{trained:,} parameters"
    )


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


def _finish(
    trainer: Any,
    job: TrainingJob,
    plan: dict[str, Any],
    weighed: WeighedExamples,
    steps: Sequence[Step],
    out: Path,
) -> FinishedRun:
    accelerator = trainer.accelerator
    # Sharded parameters are gathered, which takes all ranks; others are the model's own.
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    state = accelerator.get_state_dict(trainer.model_wrapped) if sharded else None
    if state:  # what is tied was gathered under each of its names
        state = {k: v for k, v in state.items() if k not in trainer.model.all_tied_weights_keys}
    if accelerator.is_main_process:
        whole = job.training.method == "full"
        with atomic_folder(out / (MODEL if whole else ADAPTER)) as folder:
            trainer.model.save_pretrained(folder, state_dict=state)
            if whole:  # an adapter goes with its base model, which has the tokenizer
                trainer.processing_class.save_pretrained(folder)
        finished = FinishedRun(
            folder=out,
            training=summarise(trainer, weighed.encoded, steps),
            weights=weighed.spread,
            signature={
                "plan_hash": sha256_of(plan),
                "seed": job.seed,
                "hardware": chosen_hardware(job.model_settings),
                "processes": accelerator.num_processes,
                "versions": versions(),
            },
        )
        write_run(finished, plan)
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    accelerator.wait_for_everyone()
    return read_run(out)
