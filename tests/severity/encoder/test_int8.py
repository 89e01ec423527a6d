from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tarjih.severity.encoder.int8 import Int8Linear, with_int8_layers


@given(
    rows=st.integers(1, 40), width=st.integers(2, 70), out=st.integers(1, 50), bias=st.booleans()
)
def test_a_layer_is_right_up_to_its_rounding(rows: int, width: int, out: int, bias: bool) -> None:
    torch.manual_seed(rows * width)
    linear = nn.Linear(width, out, bias=bias)
    vectors = torch.randn(rows, width) * torch.rand(rows, 1) * 10
    with torch.inference_mode():
        found = Int8Linear(linear)(vectors)
        wanted = linear.double()(vectors.double())
        # Each number is off by half a step at most: |x| <= 127 s_x, |w| <= 127 s_w.
        step_x = vectors.double().abs().amax(dim=1, keepdim=True) / 127
        step_w = linear.weight.abs().amax(dim=1) / 127
        bound = width * (0.5 * 127 * 2 + 0.25) * step_x * step_w
    assert found.dtype == torch.float32
    assert bool(((found - wanted).abs() <= bound + 1e-5).all())


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(64, 48))
    vectors = torch.randn(2, 5, 64)
    vectors[1] *= 1000
    with torch.inference_mode():
        together = layer(vectors)
        assert together.shape == (2, 5, 48)
        assert torch.equal(together[0, 3], layer(vectors[0, 3]))


def test_zeros_stay_zeros() -> None:
    with torch.inference_mode():
        layer = Int8Linear(nn.Linear(8, 4, bias=False))
        assert torch.equal(layer(torch.zeros(3, 8)), torch.zeros(3, 4))


def test_a_copy_shares_what_it_does_not_replace() -> None:
    model = nn.Sequential(nn.Embedding(7, 16), nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fast = with_int8_layers(model)
    assert isinstance(fast, nn.Sequential)
    assert isinstance(fast[1], nn.Sequential)
    assert isinstance(fast[1][0], Int8Linear)
    assert fast[0].weight is model[0].weight
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert isinstance(model[1], nn.Sequential)
    assert isinstance(model[1][0], nn.Linear)
    tokens = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        torch.testing.assert_close(fast(tokens), model(tokens), atol=0.05, rtol=0)


def test_a_layer_of_one_input_stays_as_it_is() -> None:
    # torch._int_mm of (n, 1) and (1, m) is all zeros on a processor with AVX-512.
    model = nn.Sequential(nn.Linear(1, 3))
    fast = with_int8_layers(model)
    with torch.inference_mode():
        torch.testing.assert_close(fast(torch.ones(2, 1)), model(torch.ones(2, 1)))


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_extreme_numbers_stay_finite(scale: float) -> None:
    with torch.inference_mode():
        found = Int8Linear(nn.Linear(8, 4))(torch.full((2, 8), scale))
    assert bool(torch.isfinite(found).all())
