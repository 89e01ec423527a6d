"""No token's hidden state, loss or gradient depends on padding or on the batch's other rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.bloom import modeling_bloom

from tarjih.models.load import LoadedModel
from tarjih.training.collate import WeightedCollator
from tarjih.training.examples import Example
from tarjih.training.head import weighted_forward
from tiny_models import ARCHITECTURES

from .conftest import make_examples
from .paths import InFloat64

TinyModel = Callable[..., LoadedModel]
PAD = 1
EXAMPLES = make_examples(6, weight=lambda index: 0.5 + index / 4)
SHORT = min(range(6), key=lambda index: len(EXAMPLES[index]))


def gradient_of(model: Any, examples: Sequence[Example], pad: int = PAD) -> dict[str, Tensor]:
    """The loss and the gradient of every weight of the model."""
    model.zero_grad()
    with InFloat64():
        total = weighted_forward(model, WeightedCollator(pad)(examples)).total
    total.backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return found | {"loss": total.detach()}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pad", [0, PAD, 77])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_example_among_others_is_as_it_is_alone(
    architecture: str, pad: int, tiny_model: TinyModel
) -> None:
    model = tiny_model(architecture).model.double()
    alone = gradient_of(model, [EXAMPLES[SHORT]])
    assert alone["loss"] > 0.1
    silent = [
        one if index == SHORT else replace(one, weight=0.0) for index, one in enumerate(EXAMPLES)
    ]
    assert max(len(one) for one in silent) > 2 * len(EXAMPLES[SHORT])
    assert_same(gradient_of(model, silent, pad), alone)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_is_the_sum_of_its_examples(architecture: str, tiny_model: TinyModel) -> None:
    model = tiny_model(architecture).model.double()
    ones = [gradient_of(model, [example]) for example in EXAMPLES]
    summed = {name: torch.stack([one[name] for one in ones]).sum(dim=0) for name in ones[0]}
    assert_same(gradient_of(model, EXAMPLES), summed)


def hidden_states(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """After each layer and of each token, (L + 1, B, T, D), as `generate` asks for them."""
    positions = {"position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)}
    if "position_ids" not in inspect.signature(model.forward).parameters:  # BLOOM
        positions = {}
    with torch.no_grad(), InFloat64():
        inputs = {"input_ids": ids, "attention_mask": mask, **positions}
        output = model(**inputs, output_hidden_states=True, use_cache=False)
    return torch.stack(output.hidden_states)


def left_padded(ids: Sequence[int], fill: Sequence[int]) -> tuple[Tensor, Tensor]:
    mask = [0] * len(fill) + [1] * len(ids)
    return torch.tensor([[*fill, *ids]]), torch.tensor([mask])


@pytest.mark.parametrize("length", [1, 2, 3, 25])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hidden_states_after_left_padding_are_those_without(
    architecture: str, length: int, tiny_model: TinyModel
) -> None:
    model = tiny_model(architecture).model.double()
    ids = [7 + 11 * index for index in range(length)]
    plain = hidden_states(model, *left_padded(ids, []))
    for fill in ([PAD] * 2, [PAD] * 40, [50, 60, 70]):
        found = hidden_states(model, *left_padded(ids, fill))[:, :, len(fill) :]
        torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-9)
    read, _ = left_padded(ids, [50, 60, 70])
    found = hidden_states(model, read, torch.ones_like(read))[:, :, 3:]
    assert (found - plain).abs().max() > 0.01  # a mask that is ignored would show


def test_the_short_convolutions_reach_back_over_real_tokens_only(tiny_model: TinyModel) -> None:
    model = tiny_model("lfm2").model.double()
    convolution = model.model.layers[0].conv
    reach = convolution.conv.kernel_size[0]
    assert reach == 3
    seen: list[Tensor] = []
    convolution.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
    ids = list(range(20, 30))
    for fill in ([], [90, 91, 92, 93]):
        hidden_states(model, *left_padded(ids, fill))
    changed = [*ids[:4], 99, *ids[5:]]
    hidden_states(model, *left_padded(changed, []))
    plain, after_padding, other = seen
    torch.testing.assert_close(after_padding[4:], plain, rtol=1e-9, atol=1e-12)
    # The oracle: a token moves its own output and those of the two that follow it, no others.
    moved = (other - plain).abs().amax(dim=1) > 1e-6
    assert moved.nonzero().flatten().tolist() == [4, 5, 6]


def test_alibi_counts_distances_between_real_tokens(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Tensor] = []
    own = modeling_bloom.build_alibi_tensor

    def keep(*arguments: Any, **named: Any) -> Tensor:
        made.append(own(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(modeling_bloom, "build_alibi_tensor", keep)
    model = tiny_model("bloom").model.double()
    heads, length, padding = model.config.n_head, 9, 5
    hidden_states(model, *left_padded(range(10, 10 + length), [PAD] * padding))
    bias = made[0].reshape(heads, padding + length)[:, padding:]
    # Press et al. 2022 (arXiv 2108.12409): head h of n has the slope 2 ** (-8 h / n).
    slopes = torch.tensor([2.0 ** (-8 * (head + 1) / heads) for head in range(heads)]).double()
    places = torch.arange(length).double()
    torch.testing.assert_close(bias - bias[:, :1], slopes[:, None] * places)
