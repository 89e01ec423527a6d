from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.severity.encoder import schedule
from tarjih.severity.encoder.schedule import plan_steps, rate_factor


@given(
    lengths=st.lists(st.integers(1, 128), min_size=1, max_size=200),
    batch_size=st.integers(1, 9),
    epochs=st.integers(1, 3),
)
def test_each_row_comes_once_an_epoch(lengths: list[int], batch_size: int, epochs: int) -> None:
    steps = plan_steps(lengths, batch_size=batch_size, epochs=epochs, seed=1)
    assert len(steps) % epochs == 0
    of_epoch = len(steps) // epochs
    for epoch in range(epochs):
        part = steps[epoch * of_epoch : (epoch + 1) * of_epoch]
        assert sorted(row for step in part for row in step) == list(range(len(lengths)))
    assert max(map(len, steps)) <= batch_size


def test_rows_of_like_length_share_a_step() -> None:
    draw = random.Random(0)
    lengths = [draw.randint(5, 128) for _ in range(1000)]
    steps = plan_steps(lengths, batch_size=16, epochs=1, seed=0)
    padded = sum(len(step) * max(lengths[row] for row in step) for step in steps)
    assert sum(lengths) / padded > 0.95  # in random batches it is about 0.55
    longest = [max(lengths[row] for row in step) for step in steps]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


def test_windows_of_one_step_leave_lengths_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "WINDOW_STEPS", 1)
    steps = plan_steps(list(range(1000)), batch_size=10, epochs=1, seed=0)
    spread = [max(step) - min(step) for step in steps]
    assert sum(spread) / len(spread) > 700  # of ten random numbers below 1000 it is 9/11 of 1000


def test_the_order_is_the_seeds_and_differs_between_epochs() -> None:
    lengths = [7] * 100
    steps = plan_steps(lengths, batch_size=10, epochs=2, seed=5)
    assert steps == plan_steps(lengths, batch_size=10, epochs=2, seed=5)
    assert steps != plan_steps(lengths, batch_size=10, epochs=2, seed=6)
    assert steps[:10] != steps[10:]
    assert steps[:10] == plan_steps(lengths, batch_size=10, epochs=1, seed=5)


def test_the_rate_rises_in_a_line_and_falls_to_nothing() -> None:
    assert [rate_factor(step, 8, 0.25) for step in range(9)] == pytest.approx(
        [1 / 2, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0]
    )
    assert [rate_factor(step, 4, 0.0) for step in range(5)] == pytest.approx(
        [1, 3 / 4, 0.5, 0.25, 0]
    )
    assert rate_factor(0, 1, 0.9) == 1
