from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.errors import DataError
from tarjih.records import Consultation
from tarjih.severity.answered import AnsweredComplaints, responses_of, rows_of, told_apart

PAIRS = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=12)


def answered(pairs: list[tuple[str, str]]) -> AnsweredComplaints:
    return AnsweredComplaints([c for c, _ in pairs], [r for _, r in pairs])


@given(PAIRS, st.data())
def test_it_is_its_complaints_and_rows_keep_their_responses(
    pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    found = answered(pairs)
    assert list(found) == [complaint for complaint, _ in pairs]
    assert len(found) == len(pairs)
    rows = data.draw(st.lists(st.sampled_from(range(len(pairs))))) if pairs else []
    some = rows_of(found, rows)
    assert isinstance(some, AnsweredComplaints)
    assert [*zip(some, some.responses, strict=True)] == [pairs[row] for row in rows]
    assert [*zip(found[1:3], found[1:3].responses, strict=True)] == pairs[1:3]
    assert rows_of([complaint for complaint, _ in pairs], rows) == list(some)


@given(PAIRS)
def test_texts_are_told_apart_where_complaint_or_response_differs(
    pairs: list[tuple[str, str]],
) -> None:
    assert len(set(told_apart(answered(pairs)))) == len(set(pairs))
    complaints = [complaint for complaint, _ in pairs]
    assert told_apart(complaints) == complaints


def test_two_pairs_are_never_joined_to_one_text() -> None:
    assert len(set(told_apart(answered([("ab", "c"), ("a", "bc"), ("", "abc")])))) == 3


def test_consultations_give_their_complaints_and_responses() -> None:
    found = AnsweredComplaints.of([Consultation(id="1", complaint="a", response="b")])
    assert (found.complaints, responses_of(found)) == (("a",), ("b",))


@pytest.mark.parametrize(
    ("complaints", "row"),
    [
        (["a"], None),
        (AnsweredComplaints("abc", ["x", " \n", ""]), 2),
        (AnsweredComplaints("abc", ["", "x", "x"]), 1),
    ],
)
def test_a_response_that_is_missing_is_named(complaints: list[str], row: int | None) -> None:
    with pytest.raises(DataError, match="responses=teach or responses=ignored") as caught:
        responses_of(complaints)
    assert caught.value.row == row


def test_as_many_responses_as_complaints() -> None:
    with pytest.raises(ValueError, match="2 complaints, 1 responses"):
        AnsweredComplaints(["a", "b"], ["x"])
