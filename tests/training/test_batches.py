from __future__ import annotations

import random
from itertools import chain, combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.training.batches import (
    Passes,
    Step,
    padding_share,
    parts_of_rank,
    plan_steps,
)

WHOLE, CUT = Passes(packed=False, cut=False), Passes(packed=False, cut=True)
lengths_ = st.lists(st.integers(1, 600), max_size=200)


def flat(steps: list[Step]) -> list[int]:
    return [index for step in steps for part in step for index in part]


def many_lengths(count: int) -> list[int]:
    draw = random.Random(1)
    return [min(512, int(draw.lognormvariate(4.3, 0.8)) + 5) for _ in range(count)]


@given(
    lengths=lengths_,
    size=st.integers(1, 16),
    parts=st.integers(1, 5),
    tokens=st.none() | st.integers(1, 2000),
    seed=st.integers(-5, 10**6),
    epochs=st.integers(1, 3),
)
def test_each_epoch_has_every_example_once_in_parts_of_the_allowed_size(
    lengths: list[int], size: int, parts: int, tokens: int | None, seed: int, epochs: int
) -> None:
    def plan() -> list[Step]:
        return plan_steps(
            lengths, batch_size=size, parts=parts, seed=seed, epochs=epochs, batch_tokens=tokens
        )

    steps = plan()
    assert steps == plan()
    assert sorted(flat(steps)) == sorted(list(range(len(lengths))) * epochs)
    for step in steps:
        assert len(step) == parts
        assert step[0]
        for part in step:
            assert len(part) <= size
            if tokens is not None and len(part) > 1:
                assert len(part) * max(lengths[index] for index in part) <= tokens


@given(lengths=lengths_, seed=st.integers(0, 100))
def test_how_a_step_is_cut_changes_no_step(lengths: list[int], seed: int) -> None:
    def steps(size: int, parts: int) -> list[list[int]]:
        planned = plan_steps(lengths, batch_size=size, parts=parts, seed=seed, epochs=2)
        return [list(chain(*step)) for step in planned]

    whole = steps(8, 1)
    for size, parts in ((4, 2), (2, 4), (1, 8)):
        assert steps(size, parts) == whole


def test_ranks_share_out_the_parts_of_each_step() -> None:
    steps = plan_steps(many_lengths(37), batch_size=2, parts=4, seed=1, epochs=1)
    first, second = (parts_of_rank(steps, rank, 2) for rank in range(2))
    assert len(first) == len(second) == 2 * len(steps)
    taken = [part for pair in zip(first, second, strict=True) for part in pair]
    assert taken == [part for step in steps for part in step]
    assert parts_of_rank(steps, 0, 1) == taken


def test_other_epochs_and_other_seeds_have_other_steps() -> None:
    def steps(epoch: int, seed: int) -> set[frozenset[int]]:
        planned = plan_steps(many_lengths(2000), batch_size=4, parts=1, seed=seed, epochs=2)
        half = len(planned) // 2
        return {frozenset(step[0]) for step in planned[epoch * half : (epoch + 1) * half]}

    assert len(steps(0, 7)) == 500
    for epoch, seed in ((1, 7), (0, 8)):
        assert len(steps(0, 7) & steps(epoch, seed)) < 25


def test_a_longer_run_begins_as_a_shorter_one() -> None:
    def steps(epochs: float, max_steps: int | None = None) -> list[Step]:
        return plan_steps(
            many_lengths(64), batch_size=8, parts=1, seed=1, epochs=epochs, max_steps=max_steps
        )

    two = steps(2)
    assert len(two) == 16
    assert steps(1) == two[:8]
    assert steps(1.5) == two[:12]
    assert steps(0.01) == two[:1]
    assert steps(2, max_steps=3) == two[:3]
    assert steps(1, max_steps=99) == two[:8]
    assert steps(1.01) == two[:9]


@pytest.mark.parametrize("count", [997, 4000])
@pytest.mark.parametrize("tokens", [None, 4096])
def test_very_different_lengths_are_padded_little(count: int, tokens: int | None) -> None:
    lengths = many_lengths(count)
    size = 8 if tokens is None else 64
    steps = plan_steps(
        lengths, batch_size=size, parts=1, seed=1, epochs=1, grouped=True, batch_tokens=tokens
    )
    assert padding_share(lengths, steps, WHOLE) < 0.10
    mixed = plan_steps(lengths, batch_size=8, parts=1, seed=1, epochs=1)
    assert padding_share(lengths, mixed, WHOLE) > 0.40
    assert padding_share(lengths, mixed, CUT) < 0.15
    assert padding_share(lengths, mixed, Passes(packed=True, cut=False)) == 0


def test_steps_are_mixed_unless_asked_for() -> None:
    lengths = many_lengths(4000)

    def means(*, grouped: bool) -> list[float]:
        steps = plan_steps(lengths, batch_size=8, parts=1, seed=1, epochs=1, grouped=grouped)
        return sorted(sum(lengths[index] for index in step[0]) / 8 for step in steps)

    mixed, alike = means(grouped=False), means(grouped=True)
    assert alike[-25] / alike[25] > 2 * mixed[-25] / mixed[25]


@given(lengths=st.lists(st.integers(1, 600), min_size=1, max_size=8))
def test_a_part_is_cut_into_the_cheapest_passes(lengths: list[int]) -> None:
    passes = CUT.of(lengths)
    assert sorted(chain(*passes)) == list(range(len(lengths)))

    def price(cut: list[list[int]]) -> int:
        return sum(100 + len(one) * max(one) for one in cut)

    ordered = sorted(lengths)
    every_cut = (
        [ordered[start:end] for start, end in pairwise((0, *marks, len(ordered)))]
        for count in range(len(ordered))
        for marks in combinations(range(1, len(ordered)), count)
    )
    found = [[lengths[index] for index in one] for one in passes]
    assert price(found) == min(map(price, every_cut))


@given(lengths=st.lists(st.integers(1, 600), min_size=1, max_size=40))
def test_a_part_without_padding_is_cut_into_few_passes_of_about_the_same_size(
    lengths: list[int],
) -> None:
    passes = Passes(packed=True, cut=True).of(lengths)
    assert sorted(chain(*passes)) == list(range(len(lengths)))
    sizes = [sum(lengths[index] for index in one) for one in passes]
    assert len(sizes) == min(len(lengths), -(-sum(lengths) // 1024))
    assert max(sizes) - min(sizes) <= max(lengths)


def test_a_part_is_cut_on_a_cpu_alone() -> None:
    assert Passes.on("cpu", 1, packed=False).of([300, 900, 300]) == [[1], [0, 2]]
    for device, processes in (("cpu", 2), ("cuda", 1)):
        for packed in (False, True):
            assert Passes.on(device, processes, packed=packed).of([3, 900, 1]) == [[0, 1, 2]]


def test_a_budget_of_tokens_gives_short_examples_larger_batches() -> None:
    lengths = many_lengths(2000)
    steps = plan_steps(lengths, batch_size=64, parts=1, seed=1, epochs=1, batch_tokens=4096)
    sizes = {len(step[0]) for step in steps}
    assert min(sizes) <= 8
    assert max(sizes) == 64
    full = [len(step[0]) * max(lengths[i] for i in step[0]) for step in steps]
    assert sorted(full)[len(full) // 5] > 0.75 * 4096  # all but a few are nearly full


def test_the_share_of_padding_counts_tokens() -> None:
    assert padding_share([4, 2, 3], [[[0, 1]], [[2], []]], WHOLE) == pytest.approx(1 - 9 / 11)
    assert padding_share([4, 2, 3], [[[1], [2], [0]]], WHOLE) == 0
    assert padding_share([], [], WHOLE) == 0
    assert padding_share([900, 900, 1], [[[0, 1, 2]]], CUT) == 0
