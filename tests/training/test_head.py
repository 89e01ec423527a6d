from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tarjih.models.load import LoadedModel
from tarjih.models.logits import output_head
from tarjih.models.lora import LoraSettings, add_lora
from tarjih.training.collate import WeightedCollator
from tarjih.training.examples import Example
from tarjih.training.head import weighted_forward
from tiny_models import ARCHITECTURES, move_adapters

from .conftest import make_examples
from .paths import InFloat64

TinyModel = Callable[..., LoadedModel]
WEIGHTS = (0.25, 1.75, 1.0, 0.6)


def naive_losses(model: torch.nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    """The losses of each row's supervised tokens, from the model's own logits, in plain loops."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    rows = []
    for row in range(len(logits)):
        log_probabilities = torch.log_softmax(logits[row].double(), dim=-1)
        losses = [
            -log_probabilities[position - 1, int(label)]
            for position, label in enumerate(batch["labels"][row])
            if position > 0 and label != -100
        ]
        rows.append(torch.stack(losses) if losses else torch.zeros(0, dtype=torch.float64))
    return rows


def a_batch(weights: tuple[float, ...] = WEIGHTS) -> dict[str, Tensor]:
    return WeightedCollator(1)(make_examples(len(weights), weight=lambda index: weights[index]))


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_is_the_equation_on_the_models_own_logits(
    architecture: str, tiny_model: TinyModel
) -> None:
    model = add_lora(tiny_model(architecture).model, LoraSettings(rank=2, dropout=0))
    move_adapters(model)
    batch = a_batch()
    rows = naive_losses(model, batch)
    expected = sum(weight * losses.sum() for weight, losses in zip(WEIGHTS, rows, strict=True))
    assert isinstance(expected, Tensor)
    expected.backward()  # type: ignore[no-untyped-call]
    wanted = gradients(model)
    losses = weighted_forward(model, batch)
    losses.total.backward()  # type: ignore[no-untyped-call]
    found = gradients(model)
    torch.testing.assert_close(losses.total.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses.token_losses.double(), torch.cat(rows), rtol=1e-5, atol=1e-5)
    assert losses.rows.tolist() == [row for row, of_row in enumerate(rows) for _ in of_row]
    assert wanted.keys() == found.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("one_special", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_of_a_model_gets_the_gradient_of_its_own_logits(
    architecture: str, one_special: bool, tiny_model: TinyModel
) -> None:
    model = tiny_model(architecture, one_special).model.double()
    weights = (0.25, 1.75, 1.0, 0.5)  # the batch has them in float32
    batch = a_batch(weights)
    with InFloat64():
        rows = naive_losses(model, batch)
        losses = weighted_forward(model, batch)
    expected = torch.stack([w * row.sum() for w, row in zip(weights, rows, strict=True)]).sum()
    expected.backward()  # type: ignore[no-untyped-call]
    wanted = gradients(model)
    losses.total.backward()  # type: ignore[no-untyped-call]
    found = gradients(model)
    torch.testing.assert_close(losses.total, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(losses.plain, torch.cat(rows).sum(), rtol=1e-9, atol=0)
    assert found.keys() == wanted.keys() == {name for name, _ in model.named_parameters()}
    assert all(gradient.any() for gradient in wanted.values())
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    # A tied embedding is one parameter: a head's gradient moves every word of it, an input's only
    # those that were read.
    (tied,) = (g for g in wanted.values() if g.shape == output_head(model).weight.shape)
    assert int(tied.any(dim=1).sum()) == len(tied) > len(set(batch["input_ids"].flatten().tolist()))


def test_a_rows_weight_is_its_own(tiny_model: TinyModel) -> None:
    # A weight of shape (B, 1, 1) against losses (B, T) gives (B, B, T): every row the mean weight.
    model = tiny_model("qwen2").model.requires_grad_(False)
    shares = [float(losses.sum()) for losses in naive_losses(model, a_batch((1, 1, 1, 1)))]
    ones = float(weighted_forward(model, a_batch((1, 1, 1, 1))).total)
    for row, share in enumerate(shares):
        doubled = tuple(2.0 if index == row else 1.0 for index in range(4))
        total = float(weighted_forward(model, a_batch(doubled)).total)
        assert total - ones == pytest.approx(share, rel=1e-4)


def test_the_head_sees_supervised_positions_only(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tarjih.training import head as module

    seen = []

    def spy(hidden: Tensor, *args: Tensor, **kwargs: Tensor) -> Tensor:
        seen.append(len(hidden))
        return hidden.sum(dim=1)

    monkeypatch.setattr(module, "token_losses", spy)
    examples = make_examples(5)
    model = tiny_model("gpt2").model
    weighted_forward(model, WeightedCollator(1)(examples))
    assert seen == [sum(len(example.response_ids) for example in examples)]


def test_no_supervised_token_gives_a_zero_that_can_be_differentiated(tiny_model: TinyModel) -> None:
    model = add_lora(tiny_model("gemma3").model, LoraSettings(rank=2))
    batch = WeightedCollator(1)([Example([4, 5, 6], [])])
    losses = weighted_forward(model, batch)
    assert losses.total.item() == 0
    assert len(losses.token_losses) == len(losses.rows) == 0
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert all(not gradient.any() for gradient in gradients(model).values())


def test_a_response_without_a_prompt_loses_only_what_nothing_predicts(
    tiny_model: TinyModel,
) -> None:
    model = tiny_model("qwen3").model
    batch = WeightedCollator(1)([Example([], [4, 5, 1])])
    assert len(weighted_forward(model, batch).token_losses) == 2


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
def test_the_head_is_itself_again_afterwards(architecture: str, tiny_model: TinyModel) -> None:
    model = tiny_model(architecture).model
    batch = a_batch()
    before = model(input_ids=batch["input_ids"]).logits
    weighted_forward(model, batch)
    torch.testing.assert_close(model(input_ids=batch["input_ids"]).logits, before, rtol=0, atol=0)


def test_the_head_is_itself_again_after_an_error(tiny_model: TinyModel) -> None:
    model = tiny_model("qwen2").model
    head = output_head(model)
    broken = a_batch()
    broken["labels"] = broken["labels"].clamp(min=-100) + 10**6 * (broken["labels"] != -100)
    with pytest.raises(ValueError, match="targets must lie in"):
        weighted_forward(model, broken)
    assert "forward" not in vars(head)
    assert model(input_ids=broken["input_ids"]).logits.shape[-1] == model.config.vocab_size
