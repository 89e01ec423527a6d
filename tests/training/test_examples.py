from __future__ import annotations

import pytest

from tarjih.data.prompt import PromptSettings
from tarjih.errors import DataError
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import Consultation
from tarjih.training.examples import encode_consultations
from tiny_models import TEXTS, make_tokenizer

ENCODER = PromptEncoder(make_tokenizer(), PromptSettings())


def consultation(name: str, response: str, complaint: str = TEXTS[2]) -> Consultation:
    return Consultation(id=name, complaint=complaint, response=response)


ROWS = [consultation("short", TEXTS[3]), consultation("long", TEXTS[1] * 20)]


def test_long_responses_stop_the_run_before_it_begins_and_are_named() -> None:
    with pytest.raises(DataError, match=r"1 responses are longer.*long \((\d+) tokens\)") as caught:
        encode_consultations(ROWS, ENCODER, max_tokens=64, long_responses="stop")
    needed = len(ENCODER.response(ROWS[1].response)) + len(ENCODER.prompt("").ids)
    assert f"training.max_tokens={needed}" in caught.value.remedy
    assert TEXTS[1] not in str(caught.value)  # what people wrote stays out of messages
    kept = encode_consultations(ROWS, ENCODER, max_tokens=needed, long_responses="stop")
    assert kept.kept == ROWS  # the remedy is one


def test_at_most_five_rows_are_named() -> None:
    rows = [consultation(f"n{index}", TEXTS[1] * 20) for index in range(7)]
    with pytest.raises(DataError, match=r"n4 .* and 2 more"):
        encode_consultations(rows, ENCODER, max_tokens=64, long_responses="stop")


def test_long_responses_can_be_left_out_and_are_counted() -> None:
    encoded = encode_consultations(ROWS, ENCODER, max_tokens=64, long_responses="drop")
    assert [kept.id for kept in encoded.kept] == ["short"]
    assert encoded.dropped_long_responses == 1
    assert encoded.supervised_tokens.tolist() == [len(ENCODER.response(TEXTS[3]))]


def test_shortened_complaints_are_counted() -> None:
    rows = [consultation("a", TEXTS[3], " ".join(TEXTS) * 3), consultation("b", TEXTS[3])]
    encoded = encode_consultations(rows, ENCODER, max_tokens=100, long_responses="stop")
    assert encoded.truncated_complaints == 1
    assert max(len(example) for example in encoded.examples) <= 100


@pytest.mark.parametrize("response", ["", " \n"])
def test_a_response_that_is_empty_is_an_error_with_its_id(response: str) -> None:
    with pytest.raises(DataError, match="consultation odd has no response"):
        encode_consultations(
            [*ROWS[:1], consultation("odd", response)],
            ENCODER,
            max_tokens=64,
            long_responses="drop",
        )


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(DataError, match="no example"):
        encode_consultations(ROWS[1:], ENCODER, max_tokens=64, long_responses="drop")
    with pytest.raises(DataError, match="no example"):
        encode_consultations([], ENCODER, max_tokens=64, long_responses="drop")
