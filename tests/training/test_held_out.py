from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tarjih.models.load import LoadedModel
from tarjih.models.lora import LoraSettings, add_lora
from tarjih.training.collate import WeightedCollator
from tarjih.training.held_out import response_losses
from tiny_models import ARCHITECTURES, move_adapters

from .conftest import make_examples
from .test_head import naive_losses


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sums_are_those_of_one_example_at_a_time(
    architecture: str, tiny_model: Callable[..., LoadedModel]
) -> None:
    loaded = tiny_model(architecture)
    examples = make_examples(7, weight=lambda index: index * 10.0)  # weights play no part
    naive = [
        naive_losses(loaded.model, WeightedCollator(1)([example]))[0].sum().item()
        for example in examples
    ]
    for batch_size in (1, 3, 16):
        sums = response_losses(loaded, examples, batch_size=batch_size)
        np.testing.assert_allclose(sums, naive, rtol=1e-5)


def test_an_adapter_with_dropout_is_measured_without_it_and_left_as_it_was(
    tiny_model: Callable[..., LoadedModel],
) -> None:
    loaded = tiny_model("qwen2")
    model = add_lora(loaded.model, LoraSettings(rank=2, dropout=0.5))
    move_adapters(model)
    loaded = replace(loaded, model=model.train())
    steps: list[int] = []
    first = response_losses(loaded, make_examples(5), batch_size=2, progress=steps.append)
    assert steps == [2, 2, 1]
    assert model.training
    np.testing.assert_array_equal(first, response_losses(loaded, make_examples(5), batch_size=2))
    model.eval()
    response_losses(loaded, make_examples(2), batch_size=2)
    assert not model.training
