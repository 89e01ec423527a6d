from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tarjih.data.prompt import PromptSettings
from tarjih.errors import DataError
from tarjih.generation import generate as module
from tarjih.generation.answer import Answer, answer_batch
from tarjih.generation.generate import generate
from tarjih.generation.settings import GenerationSettings
from tarjih.generation.source import AnswerSource, base_model
from tarjih.models.load import LoadedModel
from tarjih.records import Consultation, Generation, Severity
from tiny_models import FLOAT32, TinyFolder, make_consultations

SETTINGS = GenerationSettings(max_new_tokens=6, batch_size=3, temperature=1.0)
ROWS = make_consultations(10)


@pytest.fixture
def source(tiny_folder: TinyFolder) -> AnswerSource:
    return base_model(str(tiny_folder("qwen2")), settings=FLOAT32)


class Counter:
    """Stands before `answer_batch`: counts complaints, and stops where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> None:
        self.answered: list[str] = []
        self.batches = 0
        self.stop_at = stop_at
        monkeypatch.setattr(module, "answer_batch", self)

    def __call__(self, loaded: Any, encoder: Any, complaints: Any, *args: Any, **kw: Any) -> Any:
        self.batches += 1
        if self.batches == self.stop_at:
            raise KeyboardInterrupt
        self.answered += complaints
        return answer_batch(loaded, encoder, complaints, *args, **kw)


def test_answers_come_in_the_order_of_the_complaints_with_all_that_belongs_to_them(
    source: AnswerSource, tmp_path: Path
) -> None:
    rows = [replace(ROWS[0], labelled_severity=Severity.NEUTRAL, specialty="eyes"), *ROWS[1:]]
    generations = generate(source, rows, tmp_path / "a.jsonl", SETTINGS)
    assert [g.id for g in generations] == [row.id for row in rows]
    assert [g.complaint for g in generations] == [row.complaint for row in rows]
    assert [g.reference for g in generations] == [row.response for row in rows]
    assert [g.severity for g in generations] == [row.severity for row in rows]
    assert [g.severity_is_labelled for g in generations] == [True] + [False] * 9
    assert generations[0].specialty == "eyes"
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [Generation.from_json(json.loads(line)) for line in lines] == generations
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_order_of_the_complaints_does_not_change_greedy_answers(
    source: AnswerSource, tmp_path: Path
) -> None:
    greedy = GenerationSettings(max_new_tokens=6, batch_size=4)
    first = generate(source, ROWS, tmp_path / "a.jsonl", greedy)
    second = generate(source, ROWS[::-1], tmp_path / "b.jsonl", greedy)
    alone = generate(
        source, ROWS, tmp_path / "c.jsonl", greedy.model_copy(update={"batch_size": 1})
    )
    for one, two, three in zip(first, second[::-1], alone, strict=True):
        assert one.answer == two.answer == three.answer
        assert one.reference_loss == pytest.approx(two.reference_loss, rel=1e-5)
        assert one.reference_loss == pytest.approx(three.reference_loss, rel=1e-5)


def test_the_loss_of_the_reference_is_that_of_the_models_own_logits(
    source: AnswerSource, tmp_path: Path
) -> None:
    generations = generate(source, ROWS, tmp_path / "a.jsonl", SETTINGS)
    loaded, encoder = source.load()
    for row, generation in zip(ROWS, generations, strict=True):
        prompt, response = encoder.prompt(row.complaint).ids, encoder.response(row.response)
        with torch.no_grad():
            logits = loaded.model(torch.tensor([prompt + response])).logits[0].double()
        predicted = torch.log_softmax(logits, dim=-1)[len(prompt) - 1 : -1]
        expected = -sum(float(predicted[at, token]) for at, token in enumerate(response))
        assert generation.reference_loss == pytest.approx(expected, rel=1e-5)
        assert generation.reference_tokens == len(response)


def test_a_complaint_without_a_response_has_no_loss(source: AnswerSource, tmp_path: Path) -> None:
    rows = [replace(row, response=" " if i % 2 else row.response) for i, row in enumerate(ROWS)]
    generations = generate(source, rows, tmp_path / "a.jsonl", SETTINGS)
    for index, generation in enumerate(generations):
        assert (generation.reference_loss is None) == (index % 2 == 1)
        assert (generation.reference_tokens is None) == (index % 2 == 1)
    none = [replace(row, response="") for row in ROWS]
    assert all(g.reference_loss is None for g in generate(source, none, tmp_path / "b", SETTINGS))


@pytest.mark.parametrize("tail", ["", '{"id": "case-3", "compl', '{"id": "case-3"\n', "\n\x00"])
@pytest.mark.parametrize("stop_at", [1, 2, 4])
def test_what_was_kept_before_a_kill_is_not_answered_again(
    stop_at: int,
    tail: str,
    source: AnswerSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generate(source, ROWS, tmp_path / "straight.jsonl", SETTINGS)
    killed = Counter(monkeypatch, stop_at)
    with pytest.raises(KeyboardInterrupt):
        generate(source, ROWS, tmp_path / "a.jsonl", SETTINGS)
    assert len(killed.answered) == 3 * (stop_at - 1)
    assert not (tmp_path / "a.jsonl").exists()
    with (tmp_path / "a.jsonl.part").open("a", encoding="utf-8") as file:
        file.write(tail)  # the machine died while it wrote this
    resumed = Counter(monkeypatch)
    generate(source, ROWS, tmp_path / "a.jsonl", SETTINGS)
    assert sorted(killed.answered + resumed.answered) == sorted(row.complaint for row in ROWS)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "straight.jsonl").read_bytes()
    assert not (tmp_path / "a.jsonl.part").exists()


def test_half_a_batch_is_answered_again_and_every_answer_is_there_once(
    source: AnswerSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(source, ROWS, tmp_path / "straight.jsonl", SETTINGS)
    Counter(monkeypatch, stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        generate(source, ROWS, tmp_path / "a.jsonl", SETTINGS)
    part = tmp_path / "a.jsonl.part"
    lines = part.read_text(encoding="utf-8").splitlines(keepends=True)
    part.write_text("".join(lines[:-1]) + lines[-1][:30], encoding="utf-8")
    resumed = Counter(monkeypatch)
    generate(source, ROWS, tmp_path / "a.jsonl", SETTINGS)
    assert resumed.batches == 3  # the batch that lost a line, and the two that were not begun
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "straight.jsonl").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda source, rows, settings: (source, rows, settings.model_copy(update={"seed": 2})),
        lambda source, rows, settings: (
            source,
            [*rows[:9], replace(rows[9], response="x")],
            settings,
        ),
        lambda source, rows, settings: (
            replace(source, prompt=PromptSettings(template="{complaint} =")),
            rows,
            settings,
        ),
    ],
    ids=["settings", "data", "prompt"],
)
def test_answers_to_something_else_are_not_taken_over(
    change: Callable[..., tuple[AnswerSource, list[Consultation], GenerationSettings]],
    source: AnswerSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Counter(monkeypatch, stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        generate(source, ROWS, tmp_path / "a.jsonl", SETTINGS)
    other = change(source, ROWS, SETTINGS)
    resumed = Counter(monkeypatch)
    generate(other[0], other[1], tmp_path / "a.jsonl", other[2])
    assert len(resumed.answered) == 10


def test_sampling_is_reproducible_and_follows_its_seed(
    source: AnswerSource, tmp_path: Path
) -> None:
    def answers(name: str, seed: int) -> list[str]:
        settings = SETTINGS.model_copy(update={"seed": seed})
        return [g.answer for g in generate(source, ROWS, tmp_path / name, settings)]

    assert answers("a", 1) == answers("b", 1)
    assert answers("a", 1) != answers("c", 2)


def test_what_the_model_said_of_its_end_reaches_the_record(
    source: AnswerSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(
        loaded: LoadedModel, encoder: object, complaints: list[str], *args: object, seed: int
    ) -> list[Answer]:
        return [Answer(text[:3], len(text), len(text) % 2 == 0) for text in complaints]

    monkeypatch.setattr(module, "answer_batch", answer)
    for generation in generate(source, ROWS, tmp_path / "a.jsonl", SETTINGS):
        assert generation.answer == generation.complaint[:3]
        assert generation.new_tokens == len(generation.complaint)
        assert generation.stopped == (len(generation.complaint) % 2 == 0)
        assert generation.reference_loss is not None
        assert math.isfinite(generation.reference_loss)


def test_nothing_to_answer_and_ids_that_repeat_are_errors(
    source: AnswerSource, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no complaint"):
        generate(source, [], tmp_path / "a.jsonl", SETTINGS)
    with pytest.raises(DataError, match="1 ids are there more than once, such as 'case-0'"):
        generate(source, [*ROWS, ROWS[0]], tmp_path / "a.jsonl", SETTINGS)
    assert list(tmp_path.iterdir()) == []
