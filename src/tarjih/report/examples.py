"""Answers side by side: a few complaints of each severity, and what every condition answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tarjih.errors import DataError
from tarjih.evaluation.generations import read_generations
from tarjih.files import sha256_of
from tarjih.records import SEVERITIES, ExperimentResults, Generation, ResultRecord
from tarjih.report.names import (
    condition_label,
    conditions_of,
    direction,
    models_of,
    short_model_names,
)

A_SEVERITY = 3
"""Complaints shown of each severity."""
_LONGEST_TEXT = 2000  # characters; an answer that never stopped can be very long


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with the direction in which it is read: `rtl` or `ltr`."""

    text: str
    direction: str
    shortened: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What one condition answered; no passage where it has no answer to this complaint."""

    condition: str
    passage: Passage | None


@dataclass(frozen=True, slots=True)
class Example:
    """A complaint, the doctor's response and the answers of every condition."""

    severity: str | None
    severity_is_labelled: bool
    complaint: Passage
    response: Passage
    answers: tuple[Answer, ...]


@dataclass(slots=True)
class ModelExamples:
    """The examples of one model, and what kept answers from being shown."""

    model: str
    examples: list[Example] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def examples_of(results: ExperimentResults, folder: Path) -> Iterator[ModelExamples]:
    """For each model, the answers of its first seed; one model is in memory at a time.

    A file that is absent or damaged is named among the problems: a report is made all the same.

    Args:
        results: what the experiment found.
        folder: the folder that the paths of the answers are relative to.
    """
    names = short_model_names(models_of(results))
    for model in models_of(results):
        found = ModelExamples(names[model])
        answers = _answers_by_condition(results, model, folder, found.problems)
        if answers:
            found.examples = _side_by_side(answers)
        if found.examples or found.problems:
            yield found


def passage(text: str) -> Passage:
    """A text with its direction, cut off where it is very long."""
    shortened = len(text) > _LONGEST_TEXT
    return Passage(text[:_LONGEST_TEXT] if shortened else text, direction(text), shortened)


def choose(generations: Sequence[Generation], of_each: int = A_SEVERITY) -> list[Generation]:
    """A few of each severity, from critical down; which ones depends on their ids alone."""
    shuffled = sorted(generations, key=lambda one: sha256_of(one.id))
    return [
        one
        for severity in (*reversed(SEVERITIES), None)
        for one in [one for one in shuffled if one.severity is severity][:of_each]
    ]


def _side_by_side(answers: dict[str, dict[str, Generation]]) -> list[Example]:
    # A complaint that every condition answered is worth more than one that only some did.
    shared = set.intersection(*(set(of_one) for of_one in answers.values()))
    first = next(iter(answers.values()))
    chosen = choose([one for one in first.values() if one.id in shared] or list(first.values()))
    return [
        Example(
            severity=None if one.severity is None else str(one.severity),
            severity_is_labelled=one.severity_is_labelled,
            complaint=passage(one.complaint),
            response=passage(one.reference),
            answers=tuple(
                Answer(
                    condition_label(condition),
                    passage(of_one[one.id].answer) if one.id in of_one else None,
                )
                for condition, of_one in answers.items()
            ),
        )
        for one in chosen
    ]


def _answers_by_condition(
    results: ExperimentResults, model: str, folder: Path, problems: list[str]
) -> dict[str, dict[str, Generation]]:
    found = {}
    for condition in conditions_of(results):
        records = [
            one
            for one in results.records
            if (one.model, one.condition) == (model, condition) and one.answers_file is not None
        ]
        if records:
            first = min(records, key=lambda one: one.seed)
            try:
                generations = read_generations(_answers_path(first, folder))
            except DataError as error:
                problems.append(f"{condition_label(condition)}: {error.what}")
            else:
                found[condition] = {one.id: one for one in generations}
    return found


def _answers_path(record: ResultRecord, folder: Path) -> Path:
    path = (folder / str(record.answers_file)).resolve()
    # Results may come from elsewhere: they must not make a report out of any file of this machine.
    if not path.is_relative_to(folder.resolve()):
        raise DataError(
            "the answers lie outside the results folder",
            file=folder,
            remedy="keep the results folder as the experiment wrote it",
        )
    return path
