from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.data.prompt import PromptSettings, prompt_parts
from tarjih.errors import DataError, ModelError
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import Consultation
from tarjih.training.examples import encode_consultations
from tiny_models import TEXTS, make_tokenizer

SETTINGS = PromptSettings()
BEFORE, AFTER = prompt_parts(SETTINGS)
ENCODERS = {
    "own specials": PromptEncoder(make_tokenizer(), SETTINGS),
    "one special": PromptEncoder(make_tokenizer(one_special=True), SETTINGS),
}
SPECIALS = ("<eos>", "<bos>", "<pad>")

encoders = pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS.keys())
texts = st.lists(
    st.sampled_from([*" ".join(TEXTS).split(), *SPECIALS, "\u0651", "\U0001f637", "\n"]),
    max_size=40,
).map(" ".join)


def text_of(encoder: PromptEncoder, ids: list[int]) -> str:
    return str(encoder.tokenizer.decode(ids, skip_special_tokens=True))


@encoders
@given(complaint=texts, response=texts.filter(str.strip))
def test_training_sees_the_very_prompt_that_generation_makes(
    encoder: PromptEncoder, complaint: str, response: str
) -> None:
    consultation = Consultation(id="1", complaint=complaint, response=response)
    encoded = encode_consultations([consultation], encoder, max_tokens=4096, long_responses="stop")
    (example,) = encoded.examples
    assert example.prompt_ids == encoder.prompt(complaint, 4096).ids
    assert example.response_ids == encoder.response(response)
    assert encoded.truncated_complaints == 0


@encoders
@given(complaint=texts, response=texts)
def test_what_people_type_never_becomes_a_special_token(
    encoder: PromptEncoder, complaint: str, response: str
) -> None:
    special = set(encoder.tokenizer.all_special_ids)
    prompt = encoder.prompt(complaint).ids
    begin = 1 if encoder.tokenizer.bos_token != encoder.tokenizer.eos_token else 0
    assert not special & set(prompt[begin:])
    assert text_of(encoder, prompt) == f"{BEFORE}{complaint.strip()}{AFTER}"
    body, end = encoder.response(response)[:-1], encoder.response(response)[-1]
    assert not special & set(body)
    assert end == encoder.tokenizer.eos_token_id
    assert text_of(encoder, body) == f" {response.strip()}"


def test_a_begin_token_is_put_where_the_tokenizer_puts_one() -> None:
    own, one = ENCODERS["own specials"], ENCODERS["one special"]
    assert own.prompt("a").ids[0] == own.tokenizer.bos_token_id
    assert one.tokenizer.bos_token_id not in one.prompt("a").ids


@encoders
@given(complaint=texts, longest=st.integers(1, 120))
def test_a_prompt_that_is_too_long_loses_the_end_of_the_complaint_only(
    encoder: PromptEncoder, complaint: str, longest: int
) -> None:
    whole = encoder.prompt(complaint)
    if longest < len(encoder.prompt("").ids):
        with pytest.raises(ModelError, match=f"more than {longest} tokens"):
            encoder.prompt("x" * 500, longest)
        return
    shorter = encoder.prompt(complaint, longest)
    assert len(shorter.ids) <= longest
    assert shorter.dropped_tokens == len(whole.ids) - len(shorter.ids)
    if len(whole.ids) <= longest:
        assert shorter == whole
        return
    assert shorter.dropped_tokens > 0
    text = text_of(encoder, shorter.ids)
    assert text.startswith(BEFORE)
    assert text.endswith(AFTER)
    kept = text.removeprefix(BEFORE).removesuffix(AFTER)
    assert complaint.strip().startswith(kept)


@encoders
def test_a_character_is_never_cut_in_two(encoder: PromptEncoder) -> None:
    complaint = "\U0001f637" * 6  # four bytes each, and each a token here
    for longest in range(len(encoder.prompt("").ids), len(encoder.prompt(complaint).ids)):
        text = text_of(encoder, encoder.prompt(complaint, longest).ids)
        assert set(text.removeprefix(BEFORE).removesuffix(AFTER)) <= {"\U0001f637"}


@encoders
def test_shortening_keeps_nearly_as_much_as_fits(encoder: PromptEncoder) -> None:
    complaint = " ".join(TEXTS)
    for longest in range(len(encoder.prompt("").ids), len(encoder.prompt(complaint).ids)):
        assert longest - len(encoder.prompt(complaint, longest).ids) <= 4


@encoders
@given(complaint=texts, max_tokens=st.integers(24, 80))
def test_a_response_is_never_cut(encoder: PromptEncoder, complaint: str, max_tokens: int) -> None:
    consultation = Consultation(id="1", complaint=complaint, response=TEXTS[4])
    response = encoder.response(TEXTS[4])
    fits = len(encoder.prompt("").ids) + len(response) <= max_tokens
    if not fits:
        with pytest.raises(DataError, match="responses are never cut"):
            encode_consultations(
                [consultation], encoder, max_tokens=max_tokens, long_responses="stop"
            )
        return
    encoded = encode_consultations(
        [consultation], encoder, max_tokens=max_tokens, long_responses="stop"
    )
    (example,) = encoded.examples
    assert example.response_ids == response
    assert len(example) <= max_tokens
    assert text_of(encoder, example.prompt_ids).endswith(AFTER)


@encoders
def test_an_answer_is_read_back_without_marks_and_blanks(encoder: PromptEncoder) -> None:
    assert encoder.decode(encoder.response(f"  {TEXTS[1]} ")) == TEXTS[1]
