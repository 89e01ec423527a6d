"""Answers to many complaints, written to JSONL; resumed where it was stopped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tarjih.errors import DataError, shorten
from tarjih.files import sha256_of, write_json_lines
from tarjih.generation.answer import Answer, answer_batch
from tarjih.generation.settings import GenerationSettings
from tarjih.generation.source import AnswerSource
from tarjih.models.load import LoadedModel, check_context
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.progress import SILENT, Reporter
from tarjih.records import Consultation, Generation
from tarjih.signature import hash_of_consultations
from tarjih.training.examples import Example
from tarjih.training.held_out import response_losses


def generate(
    source: AnswerSource,
    consultations: Sequence[Consultation],
    out: Path,
    settings: GenerationSettings,
    reporter: Reporter = SILENT,
) -> list[Generation]:
    """Answer every complaint, and measure the loss of the doctor's response where there is one.

    Answers are kept batch by batch in `OUT.part`; `out` appears when all are there. Rerunning the
    same command goes on from the last batch that was kept.

    Raises:
        DataError: when there is nothing to answer, or two complaints have the same id.
        ModelError: when the model cannot be used.
    """
    if not consultations:
        raise DataError("there is no complaint to answer", remedy="check the data file")
    _refuse_repeated_ids(consultations)
    partial = _PartialAnswers(
        out.with_name(out.name + ".part"),
        sha256_of([source.identity(), settings.model_dump(), hash_of_consultations(consultations)]),
    )
    done = partial.read()
    loaded, encoder = source.load()
    lengths = [
        len(encoder.prompt(c.complaint, settings.max_prompt_tokens).ids) for c in consultations
    ]
    check_context(loaded.model, max(lengths) + settings.max_new_tokens)
    # Prompts of similar length share a batch; the batches do not depend on what is done already.
    order = sorted(range(len(consultations)), key=lambda index: (lengths[index], index))
    size = settings.batch_size
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    with reporter.stage("answering", len(consultations)) as advance:
        for number, indices in enumerate(batches):
            chosen = [consultations[index] for index in indices]
            if not all(c.id in done for c in chosen):
                generations = _answer(loaded, encoder, chosen, settings, settings.seed + number)
                partial.append(generations)
                done |= {generation.id: generation for generation in generations}
            advance(len(chosen))
    generations = [done[consultation.id] for consultation in consultations]
    write_json_lines(out, (generation.to_json() for generation in generations))
    partial.remove()
    return generations


def _refuse_repeated_ids(consultations: Sequence[Consultation]) -> None:
    counts = Counter(consultation.id for consultation in consultations)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise DataError(
            f"{len(repeated)} ids are there more than once, such as {shorten(repeated[0])}",
            remedy="give every complaint an id of its own: answers are kept by id",
        )


def _answer(
    loaded: LoadedModel,
    encoder: PromptEncoder,
    consultations: Sequence[Consultation],
    settings: GenerationSettings,
    seed: int,
) -> list[Generation]:
    answers = answer_batch(
        loaded, encoder, [c.complaint for c in consultations], settings, seed=seed
    )
    losses = _reference_losses(loaded, encoder, consultations, settings)
    return [
        _generation(consultation, answer, *losses.get(consultation.id, (None, None)))
        for consultation, answer in zip(consultations, answers, strict=True)
    ]


def _reference_losses(
    loaded: LoadedModel,
    encoder: PromptEncoder,
    consultations: Sequence[Consultation],
    settings: GenerationSettings,
) -> dict[str, tuple[float, int]]:
    with_response = [c for c in consultations if c.response.strip()]
    examples = [
        Example(
            encoder.prompt(c.complaint, settings.max_prompt_tokens).ids,
            encoder.response(c.response),
        )
        for c in with_response
    ]
    if not examples:
        return {}
    sums = response_losses(loaded, examples, batch_size=settings.batch_size)
    return {
        c.id: (float(total), len(example.response_ids))
        for c, total, example in zip(with_response, sums, examples, strict=True)
    }


def _generation(
    consultation: Consultation, answer: Answer, loss: float | None, tokens: int | None
) -> Generation:
    return Generation(
        id=consultation.id,
        complaint=consultation.complaint,
        reference=consultation.response,
        answer=answer.text,
        severity=consultation.severity,
        severity_is_labelled=consultation.labelled_severity is not None,
        specialty=consultation.specialty,
        new_tokens=answer.new_tokens,
        stopped=answer.stopped,
        reference_loss=loss,
        reference_tokens=tokens,
    )


class _PartialAnswers:
    """The answers so far: a first line that says what they are, then one answer a line."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint

    def read(self) -> dict[str, Generation]:
        """The whole answers by id; a file that belongs to something else is begun anew."""
        lines = self._whole_lines()
        if not lines or lines[0] != {"fingerprint": self.fingerprint}:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._rewrite([])
            return {}
        self._rewrite(lines[1:])  # drops a last line that was being written
        generations = [Generation.from_json(line) for line in lines[1:]]
        return {generation.id: generation for generation in generations}

    def _whole_lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break  # the machine died while this line was written
        return lines

    def _rewrite(self, lines: list[dict[str, Any]]) -> None:
        write_json_lines(self.path, [{"fingerprint": self.fingerprint}, *lines])

    def append(self, generations: Sequence[Generation]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            for generation in generations:
                file.write(json.dumps(generation.to_json(), ensure_ascii=False) + "\n")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
