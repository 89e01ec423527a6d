from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tarjih.training.batches import LengthBucketedSampler, WeightedCollator, padding_share
from tarjih.training.examples import Example

lengths_ = st.lists(st.integers(1, 600), max_size=300)
sizes_ = st.integers(1, 16)


def test_a_batch_is_what_is_written_out_here() -> None:
    batch = WeightedCollator(pad_id=1)(
        [Example([5, 6, 7], [8, 1], 0.5), Example([9], [1], 2.0)]  # 1 ends and fills
    )
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 1], [9, 1, 1, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, -100, 8, 1], [-100, 1, -100, -100, -100]]
    assert batch["weights"].tolist() == [0.5, 2.0]
    assert batch["input_ids"].dtype == batch["labels"].dtype == torch.int64
    assert batch["weights"].dtype == torch.float32


@given(
    rows=st.lists(
        st.tuples(st.lists(st.integers(0, 9), max_size=9), st.lists(st.integers(0, 9), max_size=9)),
        min_size=1,
        max_size=6,
    ),
    pad=st.integers(0, 9),
)
def test_every_token_is_where_it_belongs_whatever_the_padding_token(
    rows: list[tuple[list[int], list[int]]], pad: int
) -> None:
    batch = WeightedCollator(pad)([Example(prompt, response) for prompt, response in rows])
    for row, (prompt, response) in enumerate(rows):
        mask = batch["attention_mask"][row].bool()
        assert batch["input_ids"][row][mask].tolist() == prompt + response
        supervised = batch["labels"][row] != -100
        assert batch["labels"][row][supervised].tolist() == response
        assert int(supervised.sum()) == len(response)


@given(lengths=lengths_, size=sizes_, seed=st.integers(-5, 10**6), epoch=st.integers(0, 5))
def test_the_sampler_gives_every_index_once_and_always_the_same_way(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    orders = []
    for _ in range(2):
        sampler = LengthBucketedSampler(lengths, size, seed)
        sampler.set_epoch(epoch)
        torch.rand(1)  # the global generator must not matter
        orders.append(list(sampler))
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(len(lengths)))
    assert len(sampler) == len(lengths)


def batches_of(epoch: int, seed: int) -> set[frozenset[int]]:
    draw = random.Random(3)
    sampler = LengthBucketedSampler([draw.randint(1, 400) for _ in range(2000)], 4, seed)
    sampler.set_epoch(epoch)
    order = list(sampler)
    return {frozenset(order[at : at + 4]) for at in range(0, 2000, 4)}


@pytest.mark.parametrize("other", [(1, 7), (0, 8)])
def test_another_epoch_and_another_seed_give_other_batches(other: tuple[int, int]) -> None:
    first, second = batches_of(0, 7), batches_of(*other)
    assert len(first & second) < 0.05 * len(first)


@pytest.mark.parametrize("count", [997, 4000])
def test_very_different_lengths_are_padded_little(count: int) -> None:
    draw = random.Random(1)
    lengths = [min(512, int(draw.lognormvariate(4.3, 0.8)) + 5) for _ in range(count)]
    sampler = LengthBucketedSampler(lengths, 8, seed=1)
    assert padding_share(lengths, list(sampler), 8) < 0.10
    assert padding_share(lengths, range(count), 8) > 0.40  # what it would be without


def test_the_share_of_padding_counts_tokens() -> None:
    assert padding_share([4, 2, 3], [0, 1, 2], 2) == pytest.approx(1 - 9 / 11)
    assert padding_share([4, 2, 3], [1, 2, 0], 1) == 0


def test_the_short_batch_comes_last() -> None:
    # The loader cuts the stream every 4 indices: a short batch before others would shift them all.
    for epoch in range(20):
        sampler = LengthBucketedSampler(range(10, 100, 10), 4, seed=0)
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert order[-1] == 0
        assert {frozenset(order[:4]), frozenset(order[4:8])} == {
            frozenset({8, 7, 6, 5}),
            frozenset({4, 3, 2, 1}),
        }
