from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tarjih.data.prompt import PromptSettings
from tarjih.generation.answer import Answer, _cut, answer_batch
from tarjih.generation.settings import GenerationSettings
from tarjih.models.load import LoadedModel, load_causal_model
from tarjih.models.prompt_tokens import EncodedPrompt, PromptEncoder
from tiny_models import ARCHITECTURES, FLOAT32, TEXTS, TinyFolder

TinyModel = Callable[..., LoadedModel]
COMPLAINTS = [TEXTS[0], TEXTS[2][:8], " ".join(TEXTS), TEXTS[4]]
GREEDY = GenerationSettings(max_new_tokens=12)


def encoder_of(loaded: LoadedModel) -> PromptEncoder:
    return PromptEncoder(loaded.tokenizer, PromptSettings())


def greedy_ids(loaded: LoadedModel, ids: list[int], count: int, penalty: float = 1.0) -> list[int]:
    """The likeliest token again and again, without padding, batches or caches."""
    chosen: list[int] = []
    for _ in range(count):
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids + chosen]), use_cache=False).logits[0, -1]
        for token in {*ids, *chosen}:
            logits[token] *= penalty if logits[token] < 0 else 1 / penalty
        chosen.append(int(logits.argmax()))
    return chosen


class TokenEncoder(PromptEncoder):
    """Complaints and answers are numbers of tokens, so that a prompt can be of any tokens."""

    def prompt(self, complaint: str, longest: int | None = None) -> EncodedPrompt:
        return EncodedPrompt([int(token) for token in complaint.split()], 0)

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


# LFM2's convolutions reach back over 3 tokens, and Gemma 3's window over 8.
LENGTHS = (30, 1, 200, 2, 90, 3, 4, 7, 9)


@pytest.mark.parametrize("penalty", [1.0, 1.4])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_answer_depends_on_the_padding_whatever_fills_it(
    architecture: str, penalty: float, tiny_model: TinyModel
) -> None:
    loaded = tiny_model(architecture)
    encoder = TokenEncoder(loaded.tokenizer, PromptSettings())
    encoder.end_id = len(loaded.tokenizer)  # none: no answer ends early
    draw = random.Random(2)
    prompts = [[draw.randrange(3, 300) for _ in range(length)] for length in LENGTHS]
    expected = [greedy_ids(loaded, ids, 10, penalty) for ids in prompts]
    assert len({tuple(ids) for ids in expected}) == len(LENGTHS)
    # The worst that can fill a row is what its own answer says, as the end token can be.
    fill = next(
        token
        for ids, answer in zip(prompts, expected, strict=True)
        for token in answer
        if len(ids) < max(LENGTHS) and token not in ids
    )
    loaded.tokenizer.pad_token = loaded.tokenizer.convert_ids_to_tokens(fill)
    settings = GenerationSettings(max_new_tokens=10, repetition_penalty=penalty)
    texts = [encoder.decode(ids) for ids in prompts]
    answers = answer_batch(loaded, encoder, texts, settings, seed=1)
    assert [answer.text for answer in answers] == [encoder.decode(ids) for ids in expected]
    alone = [answer_batch(loaded, encoder, [text], settings, seed=1)[0] for text in texts]
    assert alone == answers


@pytest.mark.parametrize("one_special", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_of_a_batch_are_those_of_each_complaint_alone(
    architecture: str, one_special: bool, tiny_model: TinyModel
) -> None:
    loaded = tiny_model(architecture, one_special)
    encoder = encoder_of(loaded)
    expected = [
        _cut(encoder, greedy_ids(loaded, encoder.prompt(text).ids, GREEDY.max_new_tokens))
        for text in COMPLAINTS
    ]
    assert answer_batch(loaded, encoder, COMPLAINTS, GREEDY, seed=1) == expected
    assert len({answer.text for answer in expected}) > 1


def test_a_row_that_ends_early_does_not_disturb_the_others(tiny_model: TinyModel) -> None:
    loaded = tiny_model("qwen3")
    encoder = encoder_of(loaded)
    endless = [greedy_ids(loaded, encoder.prompt(text).ids, 12) for text in COMPLAINTS]
    # Declare a token to be the end that some of the answers hold, and others do not.
    candidates = {token for ids in endless for token in ids[1:]}
    ends_some = [t for t in sorted(candidates) if 0 < sum(t in ids for ids in endless) < 4]
    encoder.end_id = ends_some[0]
    answers = answer_batch(loaded, encoder, COMPLAINTS, GREEDY, seed=1)
    assert answers == [_cut(encoder, ids) for ids in endless]
    assert {answer.stopped for answer in answers} == {True, False}


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([70, 71, 1, 0, 0], Answer("de", 3, True)),
        ([70, 71, 1, 70, 1], Answer("de", 3, True)),
        ([70, 71], Answer("de", 2, False)),
        ([1, 0, 0], Answer("", 1, True)),
        ([], Answer("", 0, False)),
    ],
)
def test_an_answer_ends_at_its_first_end_token(
    ids: list[int], expected: Answer, tiny_model: TinyModel
) -> None:
    encoder = encoder_of(tiny_model("gemma3"))
    assert encoder.end_id == 1
    assert encoder.decode([70, 71]) == "de"
    assert _cut(encoder, ids) == expected


def test_no_answer_is_longer_than_asked_for(tiny_model: TinyModel) -> None:
    loaded = tiny_model("qwen2")
    settings = GenerationSettings(max_new_tokens=5)
    answers = answer_batch(loaded, encoder_of(loaded), COMPLAINTS, settings, seed=1)
    assert [answer.new_tokens for answer in answers if not answer.stopped]
    assert all(answer.new_tokens <= 5 for answer in answers)


def test_sampling_follows_its_seed_and_greedy_answers_do_not(tiny_model: TinyModel) -> None:
    loaded = tiny_model("gpt2")
    encoder = encoder_of(loaded)
    sampling = GenerationSettings(max_new_tokens=12, temperature=0.9, top_p=0.95)

    def answers(settings: GenerationSettings, seed: int) -> list[Answer]:
        torch.rand(3)
        return answer_batch(loaded, encoder, COMPLAINTS, settings, seed=seed)

    assert answers(sampling, 1) == answers(sampling, 1)
    assert answers(sampling, 1) != answers(sampling, 2)
    assert answers(GREEDY, 1) == answers(GREEDY, 2)


def test_a_narrow_top_p_is_greedy(tiny_model: TinyModel) -> None:
    loaded = tiny_model("gpt2")
    narrow = GenerationSettings(max_new_tokens=12, temperature=0.5, top_p=1e-6)
    encoder = encoder_of(loaded)
    assert answer_batch(loaded, encoder, COMPLAINTS, narrow, seed=1) == answer_batch(
        loaded, encoder, COMPLAINTS, GREEDY, seed=1
    )


def test_settings_in_the_model_folder_do_not_change_the_answers(
    tiny_folder: TinyFolder, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder("qwen2"), tmp_path / "copy"))
    file = folder / "generation_config.json"
    own = json.loads(file.read_text())
    brought = {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "num_beams": 3, "top_k": 2}
    file.write_text(json.dumps({**own, **brought, "do_sample": True, "temperature": 0.3}))
    answers = []
    for loaded in (tiny_model("qwen2"), load_causal_model(str(folder), FLOAT32)):
        answers.append(answer_batch(loaded, encoder_of(loaded), COMPLAINTS, GREEDY, seed=1))
    assert answers[0] == answers[1]


def test_a_long_complaint_is_answered_from_its_beginning(tiny_model: TinyModel) -> None:
    loaded = tiny_model("qwen2")
    encoder = encoder_of(loaded)
    settings = GenerationSettings(max_new_tokens=6, max_prompt_tokens=32)
    text = " ".join(TEXTS)
    ids = encoder.prompt(text, 32).ids
    (answer,) = answer_batch(loaded, encoder, [text], settings, seed=1)
    assert answer == _cut(encoder, greedy_ids(loaded, ids, 6))
