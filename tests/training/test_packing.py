"""Rows laid end to end give what the same rows give when they are padded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tarjih.models.load import LoadedModel, read_config
from tarjih.models.packing import ROW_LENGTHS, can_pack, enable_packing, pack
from tarjih.training.collate import IGNORED, WeightedCollator
from tarjih.training.examples import Example
from tarjih.training.head import SupervisedLosses, weighted_forward
from tiny_models import FLOAT32, TinyFolder

from .conftest import make_examples
from .paths import InFloat64

TinyModel = Callable[..., LoadedModel]
PACKABLE = ("gemma3", "gpt2", "llama", "qwen2", "qwen3")
EXAMPLES = [
    *make_examples(5, weight=lambda index: 0.5 + index / 4),
    Example([5], [7], 2.0),  # a row of one predicted token
]
COLLATE = WeightedCollator(1)


def losses_and_gradient(
    model: Any, batch: dict[str, Any]
) -> tuple[SupervisedLosses, dict[str, Tensor]]:
    model.zero_grad()
    with InFloat64():
        found = weighted_forward(model, batch)
    found.total.backward()  # type: ignore[no-untyped-call]
    return found, {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("architecture", PACKABLE)
def test_losses_rows_and_gradients_are_those_of_the_padded_batch(
    architecture: str, tiny_model: TinyModel
) -> None:
    model = tiny_model(architecture).model.double()
    padded, wanted = losses_and_gradient(model, COLLATE(EXAMPLES))
    assert enable_packing(model)
    # Sliding windows of 8 (Gemma 3) are narrower than rows.
    assert max(map(len, EXAMPLES)) > 8
    again, same = losses_and_gradient(model, COLLATE(EXAMPLES))
    packed, found = losses_and_gradient(model, pack(COLLATE(EXAMPLES)))
    for losses, gradient in ((again, same), (packed, found)):
        torch.testing.assert_close(losses.token_losses, padded.token_losses, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(losses.total, padded.total, rtol=1e-9, atol=1e-9)
        assert losses.rows.equal(padded.rows)
        torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("architecture", PACKABLE)
def test_answers_do_not_change(architecture: str, tiny_model: TinyModel) -> None:
    loaded = tiny_model(architecture)
    batch = COLLATE(EXAMPLES[:1])
    ids = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    told = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    before = loaded.model.generate(**ids, **told)
    assert enable_packing(loaded.model)
    assert loaded.model.generate(**ids, **told).equal(before)
    with torch.no_grad():  # a single row needs no mask
        torch.testing.assert_close(
            loaded.model(ids["input_ids"]).logits, loaded.model(**ids).logits
        )


@pytest.mark.parametrize("architecture", ["bloom", "lfm2"])
def test_what_reads_its_neighbours_is_not_packed(
    architecture: str, tiny_model: TinyModel, tiny_folder: TinyFolder
) -> None:
    model = tiny_model(architecture).model
    chosen = model.config._attn_implementation
    assert not enable_packing(model)
    assert model.config._attn_implementation == chosen
    assert not can_pack(read_config(str(tiny_folder(architecture)), FLOAT32))


def test_a_kernel_that_somebody_chose_stays(tiny_model: TinyModel) -> None:
    model = tiny_model("qwen2").model
    model.set_attn_implementation("eager")
    assert not enable_packing(model)
    assert model.config._attn_implementation == "eager"


@given(
    rows=st.lists(
        st.tuples(st.lists(st.integers(2, 9), max_size=5), st.lists(st.integers(2, 9), min_size=1)),
        min_size=1,
        max_size=5,
    )
)
def test_packing_keeps_every_token_and_its_place(rows: list[tuple[list[int], list[int]]]) -> None:
    examples = [Example(prompt, response, 1.0) for prompt, response in rows]
    packed = pack(COLLATE(examples))
    lengths = [len(example) for example in examples]
    assert packed[ROW_LENGTHS] == lengths
    assert packed["input_ids"].tolist() == [[i for p, r in rows for i in (*p, *r)]]
    assert packed["position_ids"].tolist() == [[i for length in lengths for i in range(length)]]
    labels = [[*([IGNORED] * len(prompt)), *response] for prompt, response in rows]
    for row in labels:
        row[0] = IGNORED
    assert packed["labels"].tolist() == [[label for row in labels for label in row]]
    assert packed["weights"].shape == packed["severities"].shape == (len(rows),)
