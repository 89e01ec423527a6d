"""What a training run did, from what its trainer logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tarjih.records import SEVERITIES, FirstStepGradient, TrainingPoint, TrainingSummary
from tarjih.training.batches import Step, padding_share
from tarjih.training.examples import EncodedConsultations
from tarjih.training.first_step import COSINE, PLAIN_NORM, WEIGHTED_NORM


def summarise(
    trainer: Any, encoded: EncodedConsultations, steps: Sequence[Step]
) -> TrainingSummary:
    """The summary of a run whose trainer is done."""
    entries = merged_by_step(trainer.state.log_history)
    return TrainingSummary(
        steps=trainer.state.global_step,
        seconds=trainer.seconds(),
        examples=len(encoded.examples),
        supervised_tokens=int(encoded.supervised_tokens.sum()),
        padding_share=padding_share(
            [len(example) for example in encoded.examples], steps, trainer.passes
        ),
        truncated_complaints=encoded.truncated_complaints,
        dropped_long_responses=encoded.dropped_long_responses,
        trainable_parameters=sum(
            parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad
        ),
        first_step=_first_step(entries.get(0, {})),
        history=[_point(step, entry) for step, entry in sorted(entries.items())],
    )


def merged_by_step(log_history: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """What was logged of each step, whatever the number of log calls."""
    entries: dict[int, dict[str, Any]] = {}
    for entry in log_history:
        entries.setdefault(int(entry["step"]), {}).update(entry)
    return entries


def _point(step: int, entry: Mapping[str, Any]) -> TrainingPoint:
    return TrainingPoint(
        step=step,
        loss=entry.get("plain_loss"),
        loss_by_severity=_by_severity(entry, "plain_loss"),
        weighted_loss=entry.get("loss"),
        validation_loss=entry.get("eval_loss"),
        validation_loss_by_severity=_by_severity(entry, "eval_loss"),
        learning_rate=entry.get("learning_rate"),
        gradient_norm=entry.get("grad_norm"),
    )


def _by_severity(entry: Mapping[str, Any], name: str) -> dict[str, float]:
    return {
        str(severity): float(entry[f"{name}_{severity}"])
        for severity in SEVERITIES
        if f"{name}_{severity}" in entry
    }


def _first_step(entry: Mapping[str, Any]) -> FirstStepGradient | None:
    if COSINE not in entry:
        return None
    return FirstStepGradient(
        norm=entry[WEIGHTED_NORM], unweighted_norm=entry[PLAIN_NORM], cosine=entry[COSINE]
    )
