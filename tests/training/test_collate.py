from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tarjih.records import Severity
from tarjih.training.collate import WeightedCollator, WeightsBeside
from tarjih.training.examples import Example


def test_a_batch_is_what_is_written_out_here() -> None:
    batch = WeightedCollator(pad_id=1)(
        [
            Example([5, 6, 7], [8, 1], 0.5, Severity.CRITICAL),
            Example([9], [1], 2.0),  # 1 ends and fills
        ]
    )
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 1], [9, 1, 1, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, -100, 8, 1], [-100, 1, -100, -100, -100]]
    assert batch["weights"].tolist() == [0.5, 2.0]
    assert batch["severities"].tolist() == [2, 3]
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


def test_mappings_give_the_same_batch_as_examples() -> None:
    examples = [Example([5, 6], [8, 1], 0.5, Severity.NEUTRAL), Example([9], [7, 1])]
    mappings: list[dict[str, Any]] = [
        {"input_ids": [5, 6, 8, 1], "labels": [-100, -100, 8, 1], "weight": 0.5, "severity": 1},
        {"input_ids": torch.tensor([9, 7, 1]), "labels": torch.tensor([-100, 7, 1])},
    ]
    expected = WeightedCollator(0)(examples)
    found = WeightedCollator(0)(mappings)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_labels_that_are_not_one_for_each_token_are_refused() -> None:
    with pytest.raises(ValueError, match="3 input_ids but 2 labels"):
        WeightedCollator(0)([{"input_ids": [1, 2, 3], "labels": [1, 2]}])


def test_no_examples_make_a_batch_that_supervises_nothing() -> None:
    batch = WeightedCollator(7)([])
    assert not (batch["labels"] != -100).any()
    assert batch["attention_mask"].all()
    assert batch["weights"].tolist() == [0.0]


def test_weights_are_put_beside_what_another_collator_makes() -> None:
    def other(rows: list[dict[str, Any]]) -> dict[str, Any]:
        assert all("weight" not in row for row in rows)
        return {"input_ids": torch.tensor([row["ids"] for row in rows])}

    batch = WeightsBeside(other)([{"ids": [1, 2], "weight": 0.5}, {"ids": [3, 4], "weight": 2}])
    assert batch["weights"].tolist() == [0.5, 2.0]
    assert batch["input_ids"].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(KeyError, match="weight"):
        WeightsBeside(other)([{"ids": [1, 2]}])
