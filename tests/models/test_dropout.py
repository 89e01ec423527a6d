from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tarjih.models.dropout import QuickDropout
from tarjih.models.load import LoadedModel
from tarjih.models.lora import LoraSettings, add_lora


def after(p: float, values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    found: torch.Tensor = QuickDropout(p)(values)
    return found


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5])
def test_elements_are_dropped_as_often_as_asked_each_by_itself(p: float) -> None:
    rows = after(p, torch.ones(400, 1000)) == 0
    expected = 400_000 * p
    deviation = (expected * (1 - p)) ** 0.5
    assert abs(rows.sum() - expected) < 4 * deviation
    # Four neighbours share a draw of 64 bits and must not know of each other.
    for distance in (1, 2, 3, 4):
        both = (rows[:, :-distance] & rows[:, distance:]).double().mean()
        assert both == pytest.approx(p * p, abs=4 * (p * p / 400_000) ** 0.5)
    assert rows.double().mean(dim=1).std() == pytest.approx((p * (1 - p) / 1000) ** 0.5, rel=0.2)


@given(p=st.floats(0.001, 0.999), count=st.integers(1, 9), seed=st.integers(0, 99))
def test_what_is_kept_grows_by_the_share_that_is_kept(p: float, count: int, seed: int) -> None:
    values = torch.arange(1.0, 2 * count + 1, dtype=torch.float64).reshape(count, 2).T
    found = after(p, values, seed)  # of any layout
    assert found.shape == values.shape
    kept = found != 0
    torch.testing.assert_close(
        found[kept], values[kept] / (1 - round(p * 65536) / 65536), rtol=1e-12, atol=0
    )


def test_the_gradient_passes_where_the_value_did() -> None:
    values = torch.randn(50, 7, requires_grad=True)
    found = after(0.4, values)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    torch.testing.assert_close(values.grad, (found / values).detach())
    assert 0 < (values.grad == 0).sum() < values.numel()


def test_a_seed_repeats_it_and_the_next_draw_differs() -> None:
    ones = torch.ones(64, 64, dtype=torch.bfloat16)
    assert after(0.5, ones, seed=1).equal(after(0.5, ones, seed=1))
    assert not after(0.5, ones, seed=1).equal(after(0.5, ones, seed=2))
    assert after(0.5, ones).dtype == torch.bfloat16
    assert not after(0.5, ones).equal(QuickDropout(0.5)(ones))


def test_nothing_is_dropped_in_evaluation_or_at_zero_and_everything_at_one() -> None:
    values = torch.randn(5, 5)
    assert QuickDropout(0.5).eval()(values).equal(values)
    assert QuickDropout(0.0)(values).equal(values)
    assert QuickDropout(1.0)(values).equal(torch.zeros(5, 5))


def test_every_adapter_gets_it(tiny_model: Callable[..., LoadedModel]) -> None:
    model = add_lora(tiny_model("qwen2").model, LoraSettings(dropout=0.25))
    found = [module for module in model.modules() if type(module) is QuickDropout]
    assert len(found) == len(model.targeted_module_names)
    assert {module.p for module in found} == {0.25}
    bare = add_lora(tiny_model("qwen2").model, LoraSettings(dropout=0.0))
    assert not any(isinstance(module, QuickDropout) for module in bare.modules())
