from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tarjih.loss import (
    UNCHANGED,
    LogitChange,
    naive_severity_weighted_cross_entropy,
    severity_weighted_cross_entropy,
    token_losses,
)


def assert_same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@dataclass
class Case:
    """N supervised tokens; what is differentiable requires a gradient."""

    hidden: Tensor
    head: Tensor
    targets: Tensor
    weights: Tensor
    bias: Tensor | None
    change: LogitChange = UNCHANGED

    def copy(self, dtype: torch.dtype) -> Case:
        def fresh(tensor: Tensor) -> Tensor:
            return tensor.detach().to(dtype).clone().requires_grad_()

        bias = None if self.bias is None else fresh(self.bias)
        hidden, head, weights = fresh(self.hidden), fresh(self.head), fresh(self.weights)
        return Case(hidden, head, self.targets, weights, bias, self.change)

    @property
    def inputs(self) -> list[Tensor]:
        tensors = [self.hidden, self.head, self.weights]
        return tensors if self.bias is None else [*tensors, self.bias]

    def tiled(self, tile_bytes: int = 1 << 20) -> Tensor:
        return severity_weighted_cross_entropy(
            self.hidden,
            self.head,
            self.targets,
            self.weights,
            bias=self.bias,
            logit_change=self.change,
            tile_bytes=tile_bytes,
        )

    def naive(self) -> Tensor:
        return naive_severity_weighted_cross_entropy(
            self.hidden,
            self.head,
            self.targets,
            self.weights,
            bias=self.bias,
            logit_change=self.change,
        )


def make_case(
    count: int,
    width: int,
    vocabulary: int,
    *,
    bias: bool = True,
    scale: float = 1.0,
    seed: int = 0,
    change: LogitChange = UNCHANGED,
) -> Case:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    case = Case(
        normal(count, width) * scale,
        normal(vocabulary, width),
        torch.randint(vocabulary, (count,), generator=random),
        normal(count) + 0.5,  # some of them negative
        normal(vocabulary) if bias else None,
        change,
    )
    case.weights[::5] = 0.0
    return case.copy(torch.float64)


def values(case: Case, loss: Tensor) -> list[Tensor]:
    """The loss and its gradients, in float64."""
    gradients = torch.autograd.grad(loss, case.inputs)
    return [loss.detach().double(), *(gradient.double() for gradient in gradients)]


CASES = st.builds(
    make_case,
    count=st.sampled_from([0, 1, 2, 17, 33, 70]),
    width=st.integers(1, 9),
    vocabulary=st.sampled_from([1, 2, 7, 31, 101]),
    bias=st.booleans(),
    scale=st.sampled_from([1.0, 30.0, 1e4]),
    seed=st.integers(0, 1000),
)


@settings(deadline=None, max_examples=80)
@given(case=CASES, tile_bytes=st.sampled_from([0, 1, 28, 1000, 4096, 1 << 20]))
def test_value_and_gradients_are_those_of_the_equation(case: Case, tile_bytes: int) -> None:
    expected = values(case, case.naive())
    found = values(case, case.tiled(tile_bytes))
    for one, other in zip(found, expected, strict=True):
        # Relative to the largest value, because sums of large terms cancel.
        largest = max(1.0, *other.abs().flatten().tolist()) if other.numel() else 1.0
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * largest)
        assert one.isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        *((torch.float32, scale) for scale in (0.3, 3.0, 30.0)),
        # Larger logits are themselves rounded so far in bfloat16 that only luck would be compared.
        *((torch.bfloat16, scale) for scale in (0.3, 1.0)),
    ],
)
def test_errors_of_short_types_are_no_larger_than_the_naive_ones(
    dtype: torch.dtype, scale: float
) -> None:
    # Which of the two is luckier differs by case; over many cases chance evens out.
    errors: dict[str, list[list[float]]] = {"tiled": [], "naive": []}
    for seed in range(60):
        case = make_case(33, 16, 301, scale=scale, seed=seed).copy(dtype)
        exact = case.copy(torch.float64)
        truth = values(exact, exact.naive())
        for name, loss in (("tiled", case.tiled(8000)), ("naive", case.naive())):
            found = values(case, loss)
            errors[name].append(
                [float((one - true).square().sum()) for one, true in zip(found, truth, strict=True)]
            )
    for tiled, naive in zip(
        torch.tensor(errors["tiled"]).sum(0), torch.tensor(errors["naive"]).sum(0), strict=True
    ):
        assert naive > 0
        assert tiled.sqrt() <= 1.1 * naive.sqrt()


def test_late_tiles_still_count_in_the_gradient_of_a_bfloat16_head() -> None:
    # One row a tile, all with the same gradient: summed in bfloat16 it would stop at 256.
    count = 2000
    hidden = torch.ones(count, 1, dtype=torch.bfloat16)
    head = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    targets, weights = torch.zeros(count, dtype=torch.int64), torch.ones(count)
    loss = severity_weighted_cross_entropy(hidden, head, targets, weights, tile_bytes=1)
    (gradient,) = torch.autograd.grad(loss, [head])
    assert gradient.flatten().tolist() == pytest.approx([-count / 2, count / 2], rel=0.01)


def test_large_logits_in_float32_give_no_nan() -> None:
    case = make_case(20, 4, 33, scale=1e4).copy(torch.float32)
    assert float((case.hidden @ case.head.T).detach().abs().max()) > 1e4
    assert all(value.isfinite().all() for value in values(case, case.tiled()))


def test_unit_weights_are_plain_cross_entropy() -> None:
    case = make_case(40, 8, 101)
    logits = torch.nn.functional.linear(case.hidden, case.head, case.bias)
    plain = torch.nn.functional.cross_entropy(logits, case.targets, reduction="sum")
    case.weights = torch.ones(40, dtype=torch.float64, requires_grad=True)
    inputs = [case.hidden, case.head, *([] if case.bias is None else [case.bias])]
    expected = [plain, *torch.autograd.grad(plain, inputs)]
    loss = case.tiled(800)
    for one, other in zip([loss, *torch.autograd.grad(loss, inputs)], expected, strict=True):
        assert_same(one, other)


@settings(deadline=None, max_examples=25)
@given(one=st.floats(-5, 5), other=st.floats(-5, 5))
def test_the_loss_is_linear_in_the_weights(one: float, other: float) -> None:
    case = make_case(30, 5, 41)
    first = torch.linspace(-1, 2, 30, dtype=torch.float64)
    second = torch.linspace(3, 0, 30, dtype=torch.float64) ** 2

    def loss(weights: Tensor) -> Tensor:
        return severity_weighted_cross_entropy(
            case.hidden, case.head, case.targets, weights, tile_bytes=600
        )

    torch.testing.assert_close(
        loss(one * first + other * second),
        one * loss(first) + other * loss(second),
        rtol=1e-9,
        atol=1e-7,
    )


def test_token_losses_can_be_summed_in_any_way() -> None:
    case = make_case(25, 6, 53)
    losses = token_losses(case.hidden, case.head, case.targets, bias=case.bias, tile_bytes=500)
    logits = torch.nn.functional.linear(case.hidden, case.head, case.bias)
    plain = torch.nn.functional.cross_entropy(logits, case.targets, reduction="none")
    assert_same(losses, plain)
    assert case.bias is not None
    inputs = [case.hidden, case.head, case.bias]
    found = torch.autograd.grad((losses**2).mean(), inputs)
    for one, other in zip(found, torch.autograd.grad((plain**2).mean(), inputs), strict=True):
        assert_same(one, other)


CHANGES = [LogitChange(cap=2.0), LogitChange(scale=0.25), LogitChange(scale=3.0, cap=1.5)]


@pytest.mark.parametrize("change", CHANGES, ids=repr)
@pytest.mark.parametrize("tile_bytes", [60, 1 << 20])
def test_logits_are_scaled_and_capped_as_the_model_does(
    change: LogitChange, tile_bytes: int
) -> None:
    case = make_case(30, 5, 41, change=change)
    expected = values(case, case.naive())
    for one, other in zip(values(case, case.tiled(tile_bytes)), expected, strict=True):
        assert_same(one, other)
    case.change = UNCHANGED
    assert abs(float(case.tiled().detach()) - float(expected[0])) > 0.01


def test_the_equation_caps_as_gemma_2_does() -> None:
    case = make_case(9, 4, 11, change=LogitChange(cap=1.7))
    logits = torch.nn.functional.linear(case.hidden, case.head, case.bias)
    capped = torch.tanh(logits / 1.7) * 1.7
    plain = torch.nn.functional.cross_entropy(capped, case.targets, reduction="none")
    assert_same(case.naive(), (plain * case.weights).sum())


@pytest.mark.parametrize("tile_bytes", [1, 300, 1 << 20])
def test_words_masked_with_minus_infinity_take_no_part(tile_bytes: int) -> None:
    case = make_case(12, 4, 40)
    assert case.bias is not None
    masked = torch.zeros(40, dtype=torch.bool)
    masked[:15] = masked[20::3] = True  # the first tiles hold nothing else
    case.targets = torch.nonzero(~masked)[:, 0][case.targets % int((~masked).sum())]
    case.bias.data[masked] = -torch.inf
    expected = values(case, case.naive())
    found = values(case, case.tiled(tile_bytes))
    for one, other in zip(found, expected, strict=True):
        assert one.isfinite().all()
        assert_same(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_nearly_certain_target_keeps_its_small_loss_and_gradient(dtype: torch.dtype) -> None:
    # p is 1 - 7.6e-9: from a rounded p, both would be zero.
    hidden = torch.ones(1, 1, dtype=dtype, requires_grad=True)
    head = torch.tensor([[20.0], [1.0], [0.5]], dtype=dtype)
    loss = severity_weighted_cross_entropy(hidden, head, torch.tensor([0]), torch.ones(1))
    (gradient,) = torch.autograd.grad(loss, [hidden])
    exact = hidden.detach().double().requires_grad_()
    truth = (exact @ head.double().T).logsumexp(-1).sum() - 20.0
    others = torch.softmax(torch.tensor([20.0, 1.0, 0.5]).double(), 0)[1:]
    slope = float(others @ torch.tensor([1.0, 0.5]).double() - others.sum() * 20)
    assert loss.item() == pytest.approx(truth.item(), rel=1e-5, abs=0)
    assert gradient.item() == pytest.approx(slope, rel=1e-2 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("count", [2047, 2048, 5000])
def test_more_tokens_than_share_a_tile_are_all_counted(count: int) -> None:
    case = make_case(count, 3, 17)
    for one, other in zip(values(case, case.tiled(4096)), values(case, case.naive()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-7)


def test_a_head_longer_than_the_hidden_states_is_rounded_as_mixed_precision_does() -> None:
    case = make_case(30, 8, 41, bias=False).copy(torch.float32)
    hidden = case.hidden.detach().bfloat16().requires_grad_()
    loss = severity_weighted_cross_entropy(hidden, case.head, case.targets, case.weights)
    of_hidden, of_head = torch.autograd.grad(loss, [hidden, case.head])
    assert (of_hidden.dtype, of_head.dtype) == (torch.bfloat16, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        naive = naive_severity_weighted_cross_entropy(hidden, case.head, case.targets, case.weights)
    expected = torch.autograd.grad(naive, [hidden, case.head])
    torch.testing.assert_close(of_hidden, expected[0], rtol=0.05, atol=0.02)
    torch.testing.assert_close(of_head, expected[1], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_without_supervised_tokens_zeros_are_backpropagated(dtype: torch.dtype) -> None:
    case = make_case(0, 4, 9).copy(dtype)
    loss = case.tiled()
    torch.autograd.backward(loss)
    assert loss.item() == 0.0
    for tensor in case.inputs:
        assert tensor.grad is not None
        assert tensor.grad.shape == tensor.shape
        assert not tensor.grad.any()


def test_what_is_frozen_gets_no_gradient() -> None:
    names = ("hidden", "head", "weights", "bias")
    full = make_case(20, 4, 13)
    torch.autograd.backward(full.tiled(300))
    for trained in itertools.chain.from_iterable(
        itertools.combinations(names, size) for size in (1, 2, 3)
    ):
        case = make_case(20, 4, 13)
        for name in names:
            getattr(case, name).requires_grad_(name in trained)
        torch.autograd.backward(case.tiled(300))
        for name in names:
            gradient = getattr(case, name).grad
            assert (gradient is not None) == (name in trained)
            if gradient is not None:
                assert_same(gradient, getattr(full, name).grad)


def test_hidden_states_and_heads_need_not_be_contiguous() -> None:
    case = make_case(12, 6, 15)
    expected = values(case, case.naive())
    case.hidden = case.hidden.detach().T.contiguous().T.requires_grad_()
    case.head = case.head.detach().repeat_interleave(2, dim=1)[:, ::2].requires_grad_()
    assert not case.hidden.is_contiguous()
    assert not case.head.is_contiguous()
    for one, other in zip(values(case, case.tiled(200)), expected, strict=True):
        assert_same(one, other)


def test_an_outer_factor_reaches_the_gradients_and_they_can_be_asked_for_twice() -> None:
    case = make_case(20, 4, 13)
    loss = case.tiled(300)
    plain = torch.autograd.grad(loss, case.inputs, retain_graph=True)
    scaled = torch.autograd.grad(loss * -0.125, case.inputs)
    for one, other in zip(scaled, plain, strict=True):
        assert_same(one, -0.125 * other)


def test_micro_batches_add_up() -> None:
    case = make_case(24, 4, 13)
    whole = values(case, case.tiled())
    parts = sum(
        severity_weighted_cross_entropy(
            case.hidden[rows], case.head, case.targets[rows], case.weights[rows], bias=case.bias
        )
        for rows in (slice(0, 5), slice(5, 5), slice(5, 24))
    )
    assert isinstance(parts, Tensor)
    for one, other in zip(values(case, parts), whole, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_the_numerical_ones(bias: bool) -> None:
    case = make_case(6, 3, 7, bias=bias)

    def loss(hidden: Tensor, head: Tensor, weights: Tensor, *rest: Tensor) -> Tensor:
        return severity_weighted_cross_entropy(
            hidden, head, case.targets, weights, bias=rest[0] if rest else None, tile_bytes=56
        )

    assert torch.autograd.gradcheck(loss, case.inputs)


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    case = make_case(6, 3, 7)
    squared = case.tiled() ** 2
    (slope,) = torch.autograd.grad(squared, [case.hidden], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(slope.sum())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"hidden": torch.zeros(2, 3, 4)}, r"hidden must be \(N, D\), not \(2, 3, 4\)"),
        ({"hidden": torch.zeros(6, 5)}, r"head_weight must be \(V, 5\), not \(7, 4\)"),
        ({"head": torch.zeros(7)}, r"head_weight must be \(V, 4\)"),
        ({"targets": torch.zeros(5, dtype=torch.int64)}, r"weights must be \(5,\).*not \(6,\)"),
        ({"weights": torch.zeros(6, 1)}, r"weights must be \(6,\).*not \(6, 1\)"),
        (
            {"targets": torch.zeros(5, dtype=torch.int64), "weights": torch.zeros(5)},
            r"targets must be \(6,\).*not \(5,\)",
        ),
        ({"bias": torch.zeros(6)}, r"bias must be \(7,\), not \(6,\)"),
        ({"targets": torch.tensor([0, 1, -100, 2, 3, 4])}, r"\[0, 7\).*without the -100"),
        ({"targets": torch.tensor([0, 1, 7, 2, 3, 4])}, r"must lie in \[0, 7\)"),
        ({"targets": torch.zeros(6)}, r"targets must be int64, not torch\.float32"),
        ({"targets": torch.zeros(6, dtype=torch.int32)}, r"int64, not torch\.int32"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Tensor], expected: str) -> None:
    case = make_case(6, 4, 7).copy(torch.float32)
    for name, tensor in change.items():
        setattr(case, name, tensor)
    with pytest.raises(ValueError, match=expected):
        case.tiled()


class Sizes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records how many elements every new tensor has; views of what was there are not new."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            is_new = (
                isinstance(tensor, Tensor)
                and tensor.untyped_storage().data_ptr() not in self._known
            )
            if is_new:
                self.largest = max(self.largest, tensor.numel())
        return result


COUNT, WIDTH, VOCABULARY = 512, 8, 2048


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tile_bytes", [1, 1 << 16, 1 << 20])
def test_all_logits_are_never_held_at_once(tile_bytes: int, dtype: torch.dtype) -> None:
    case = make_case(COUNT, WIDTH, VOCABULARY).copy(dtype)
    with Sizes([*case.inputs, case.targets]) as sizes:
        torch.autograd.backward(case.tiled(tile_bytes))
    assert sizes.largest <= max(tile_bytes // 4, VOCABULARY * WIDTH)
    assert sizes.largest < COUNT * VOCABULARY
    with Sizes([*case.inputs, case.targets]) as sizes:
        torch.autograd.backward(case.naive())
    assert sizes.largest >= COUNT * VOCABULARY  # so the measurement sees it


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_beyond_tiles_is_held(context: Any) -> None:
    case = make_case(COUNT, 80, VOCABULARY).copy(torch.float32)
    tile = COUNT * 64
    assert tile < COUNT * 80 < VOCABULARY * 80
    with context(), Sizes([*case.inputs, case.targets]) as sizes:
        loss = case.tiled(4 * tile)
    assert sizes.largest == tile
    assert not loss.requires_grad
    torch.testing.assert_close(loss, case.tiled().detach())


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations of matrix products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm_.default):
            left, right = args[-2:]
            self.operations += left.shape[0] * left.shape[1] * right.shape[1]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("trained", "products"), [(False, 2), (True, 4)])
def test_a_frozen_head_costs_two_products_and_a_trained_one_four(
    trained: bool, products: int
) -> None:
    case = make_case(COUNT, WIDTH, VOCABULARY, bias=False).copy(torch.float32)
    case.head.requires_grad_(trained)
    with Products() as counted:
        torch.autograd.backward(case.tiled())
    assert counted.operations == products * COUNT * WIDTH * VOCABULARY
