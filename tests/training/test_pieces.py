from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tarjih.data.prompt import PromptSettings, prompt_parts
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import Consultation
from tarjih.training.examples import encode_consultations
from tarjih.training.pieces import Part, decoded, pieces_of
from tiny_models import TEXTS, make_tokenizer

_FROM_OBJECT: Callable[..., Any] = PreTrainedTokenizerFast  # its constructor has no types
TOKENIZER = make_tokenizer()
ENCODER = PromptEncoder(TOKENIZER, PromptSettings())
BEFORE, AFTER = prompt_parts(PromptSettings())
# No surrogates, which no UTF-8 holds, and no replacement characters, which look like halves.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=40)
FACE = "\U0001fae0"  # MELTING FACE: four bytes, and no token of its own here


def encode(text: str, tokenizer: Any = TOKENIZER) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))


@given(TEXT)
def test_texts_joined_are_the_text_and_their_tokens_the_tokens(text: str) -> None:
    ids = encode(text)
    found = list(decoded(TOKENIZER, ids))
    assert "".join(part for part, _ in found) == text
    assert [token for _, tokens in found for token in tokens] == ids
    assert all(tokens for _, tokens in found)


@given(TEXT)
def test_no_piece_is_a_part_of_a_character_or_longer_than_it_must_be(text: str) -> None:
    for part, tokens in decoded(TOKENIZER, encode(text)):
        assert "\ufffd" not in part
        for cut in range(1, len(tokens)):  # each beginning of it ends amid a character
            assert TOKENIZER.decode(list(tokens[:cut])).endswith("\ufffd")


def test_the_tokens_of_one_character_are_one_piece() -> None:
    found = dict(decoded(TOKENIZER, encode(f"a{FACE}b")))
    assert list(found) == ["a", FACE, "b"]
    assert len(found[FACE]) == len(FACE.encode()) == 4


def test_a_piece_ends_at_a_border_whatever_it_is() -> None:
    ids = encode(FACE)
    assert [tokens for _, tokens in decoded(TOKENIZER, ids, {2})] == [
        tuple(ids[:2]),
        tuple(ids[2:]),
    ]


def test_blanks_that_a_decoder_removes_at_the_beginning_are_there_elsewhere() -> None:
    tokenizer = _blanks_before_words()
    ids = encode("one two  three", tokenizer)
    assert tokenizer.decode([ids[-1]]) == "three"  # without what it follows
    assert [text for text, _ in decoded(tokenizer, ids)][-1] == " three"


def _blanks_before_words() -> Any:
    """Words with the blank before them, as SentencePiece has them."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.decoder = decoders.Metaspace()
    words.train_from_iterator(
        ["one two three"] * 9, trainers.BpeTrainer(special_tokens=["<eos>"], show_progress=False)
    )
    return _FROM_OBJECT(tokenizer_object=words, eos_token="<eos>")  # noqa: S106


LONG = " ".join(TEXTS) + f" {FACE}{FACE} 37.5\n" + TEXTS[2]


@pytest.mark.parametrize("longest", [60, 61, 62, 63, 64, 80, 100])
@pytest.mark.parametrize("complaint", [LONG, f"  {LONG} \n", FACE * 60, "ab \n" * 80])
def test_what_was_kept_and_what_was_dropped_are_the_complaint(complaint: str, longest: int) -> None:
    consultation = Consultation("a", complaint, TEXTS[3])
    encoded = encode_consultations(
        [consultation], ENCODER, max_tokens=longest, long_responses="stop"
    )
    [example] = encoded.examples
    pieces = pieces_of(example, complaint, ENCODER, AFTER)
    prompt = "".join(piece.text for piece in pieces if piece.part is Part.PROMPT)
    dropped = [piece for piece in pieces if piece.part is Part.DROPPED]
    lost = "".join(piece.text for piece in dropped)
    assert encoded.truncated_complaints == 1
    kept = prompt.removeprefix(f"<bos>{BEFORE}").removesuffix(AFTER)
    assert kept + lost == complaint.strip()
    assert lost
    assert all(piece.position is None and not piece.supervised for piece in dropped)
    # In place: what is read from left to right is the uncut prompt.
    unsupervised = [piece.text for piece in pieces if not piece.supervised]
    assert "".join(unsupervised) == f"<bos>{BEFORE}{complaint.strip()}{AFTER}"


def test_a_token_of_which_only_the_blank_is_dropped_is_cut() -> None:
    encoder = PromptEncoder(_blanks_after_words(), PromptSettings())
    consultation = Consultation("a", "ab " * 60 + "end", "ab")
    [example] = encode_consultations(
        [consultation], encoder, max_tokens=60, long_responses="stop"
    ).examples
    pieces = pieces_of(example, consultation.complaint, encoder, AFTER)
    dropped = [piece for piece in pieces if piece.part is Part.DROPPED]
    assert dropped[0].text == " "
    assert encoder.tokenizer.decode(list(dropped[0].ids)) == "ab "
    unsupervised = [piece.text for piece in pieces if not piece.supervised]
    assert "".join(unsupervised) == f"{BEFORE}{consultation.complaint}{AFTER}"


def _blanks_after_words() -> Any:
    """Bytes, and one token for a word with the blank after it."""
    vocabulary = {"<eos>": 0, "ab": 1, "ab\u0120": 2}
    for byte in pre_tokenizers.ByteLevel.alphabet():
        vocabulary.setdefault(byte, len(vocabulary))
    words = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("ab", "\u0120")]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words.decoder = decoders.ByteLevel()
    return _FROM_OBJECT(tokenizer_object=words, eos_token="<eos>")  # noqa: S106


def test_every_token_of_the_example_is_there_with_its_part() -> None:
    consultation = Consultation("a", TEXTS[2], f"{FACE} {TEXTS[3]}")
    [example] = encode_consultations(
        [consultation], ENCODER, max_tokens=200, long_responses="stop"
    ).examples
    pieces = pieces_of(example, TEXTS[2], ENCODER, AFTER)
    tokens = [(token, piece) for piece in pieces for token in piece.ids]
    assert [token for token, _ in tokens] == example.prompt_ids + example.response_ids
    supervised = [piece.supervised for _, piece in tokens]
    assert supervised == [False] * len(example.prompt_ids) + [True] * len(example.response_ids)
    assert [piece.part for piece in pieces].count(Part.END) == 1
    assert (pieces[-1].text, pieces[-1].part) == ("<eos>", Part.END)
    starts = [piece.position for piece in pieces]
    assert starts == [sum(len(one.ids) for one in pieces[:at]) for at in range(len(pieces))]


def test_an_end_token_that_a_patient_typed_is_text() -> None:
    consultation = Consultation("a", "<eos> ache", "<eos> rest")
    [example] = encode_consultations(
        [consultation], ENCODER, max_tokens=200, long_responses="stop"
    ).examples
    pieces = pieces_of(example, "<eos> ache", ENCODER, AFTER)
    assert [piece.text for piece in pieces].count("<eos>") == 1
    assert [piece.part for piece in pieces].count(Part.END) == 1
