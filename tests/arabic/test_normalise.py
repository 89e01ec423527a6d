from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarjih.arabic import characters as ch
from tarjih.arabic.normalise import WORDS_VERSION, clean_text, comparison_key, words

# Any text, and text dense in what these functions act on.
ACTED_ON = (
    "\u0640\u064b\u0651\u0654\u0655\u0670\u0622\u0623\u0625\u0671\u0627\u0649\u064a\u06cc\u0629"
    "\u0647\u0621\u0624\u0626\u0660\u0669\u06f4\u066b\u066c\u200b\u200c\u200d\u200f\u202e\ufeff"
    "\ufefb\ufdf2\ufe76\ufe70\ufc60\r\n\t \u00a0\u2028\x00\x85.,!Aa1\u0130\ud800"
)
TEXTS = st.text() | st.text(st.sampled_from(ACTED_ON)) | st.text(st.characters(codec=None))


@settings(deadline=None)
@given(TEXTS)
def test_clean_text_is_idempotent(text: str) -> None:
    once = clean_text(text)

    assert clean_text(once) == once


@settings(deadline=None)
@given(TEXTS)
def test_clean_text_leaves_nothing_invisible_and_can_be_written(text: str) -> None:
    cleaned = clean_text(text)

    assert not set(cleaned) & set(ch.INVISIBLE + ch.TATWEEL)
    assert not any(unicodedata.category(c) == "Cc" for c in cleaned if c != "\n")
    assert not re.search(r"\n\n|  | \n|\n |^\s|\s$", cleaned)
    assert unicodedata.is_normalized("NFC", cleaned)
    cleaned.encode()


@settings(deadline=None)
@given(TEXTS)
def test_comparison_key_is_idempotent_and_plain(text: str) -> None:
    key = comparison_key(text)

    assert comparison_key(key) == key
    assert re.fullmatch(r"(?:[^\W_]+(?: [^\W_]+)*)?", key)


@settings(deadline=None)
@given(TEXTS)
def test_keys_and_words_do_not_see_what_clean_text_removes(text: str) -> None:
    assert comparison_key(clean_text(text)) == comparison_key(text)
    assert words(clean_text(text)) == words(text)


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("\u0628\u062a\u062bab1"), min_size=1)))
def test_words_are_found_whatever_separates_them(parts: list[str]) -> None:
    expected = [run for part in parts for run in re.findall(r"\d+|\D+", part)]

    assert words("\u060c ".join(parts)) == tuple(expected)  # ARABIC COMMA
    assert words("!\n".join(parts)) == tuple(expected)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\u0645\u0640\u0640\u0640\u0631\u062d\u0628\u0627", "\u0645\u0631\u062d\u0628\u0627"),
        ("\ufefb \ufee3\ufeae\ufe9d", "\u0644\u0627 \u0645\u0631\u062c"),
        ("a\r\n\r\n  b\rc\u2028d", "a\nb\nc\nd"),
        ("\u202e12\u202c mg\u200f", "12 mg"),
        (" a\u00a0\t b\x00c\ufeff ", "a bc"),
        ("e\u0301", "\u00e9"),
        ("\u0627\u0654", "\u0623"),  # ALEF and HAMZA ABOVE compose
        ("\u0627\u0640\u0654", "\u0623"),  # also when a tatweel was between them
        ("\u0627\ufe76\u0628", "\u0627\u064e\u0628"),  # an isolated fatha joins its letter
    ],
)
def test_clean_text_removes_only_what_nobody_sees(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "\u064a\u064f\u0639\u0637\u0649 \u0662\u066b\u0665 \u0645\u0644!",  # marks, decimal, unit
        "120/80, 4.5 mg, 37.5\u00b0",
        "\u0623\u0625\u0622\u0671 \u0624 \u0626 \u0629 \u0649 \u06cc \u06a9",  # letters stay
        "H\u2082O x\u00b2 \u00bd \U0001f600",
    ],
)
def test_clean_text_keeps_what_was_written(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u0623\u0639\u0627\u0646\u064a", "\u0627\u0639\u0627\u0646\u0649"),  # I suffer
        ("\u0627\u0644\u062f\u0648\u0631\u0629", "\u0627\u0644\u062f\u0648\u0631\u0647"),
        ("\u0634\u064a\u0621", "\u0634\u0626"),  # thing, in two spellings
        ("\u0635\u064f\u062f\u0627\u0639!!!", "\u0635\u062f\u0627\u0639"),  # headache
        ("\u0662\u0663 \u06f2", "23 2"),
        ("\u06a9\u062a\u0641\u06cc", "\u0643\u062a\u0641\u064a"),  # Persian letters
        (
            "\u0623\u0631\u062c\u0648\u0648\u0648\u0648\u0643",
            "\u0627\u0631\u062c\u0648\u0648\u0643",
        ),
        ("MRI  scan", "mri-scan"),
    ],
)
def test_comparison_key_joins_ways_to_write_the_same(one: str, other: str) -> None:
    assert comparison_key(one) == comparison_key(other) != ""


def test_comparison_key_squeezes_letters_but_no_numbers() -> None:
    assert comparison_key("noooo 100000") == "noo 100000"


@pytest.mark.parametrize("text", ["", " ", "?!...", "\U0001f600", "\u064b\u0640"])
def test_comparison_key_of_no_words_is_empty(text: str) -> None:
    assert comparison_key(text) == ""
    assert words(text) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "\u064a\u064f\u0639\u0637\u0649 \u0625\u0644\u0649",
            ("\u064a\u0639\u0637\u064a", "\u0627\u0644\u064a"),
        ),
        ("\u0642\u0631\u062d\u0629", ("\u0642\u0631\u062d\u0629",)),  # ta marbuta stays
        ("\u0662\u066b\u0665mg 2.5 mg", ("2.5", "mg", "2.5", "mg")),
        ("4. Rest, 1\u066c000", ("4", "rest", "1000")),
        ("\u0646\u0639\u0645\u060c\u0644\u0627\u061f", ("\u0646\u0639\u0645", "\u0644\u0627")),
        ("B12 120/80", ("b", "12", "120", "80")),
    ],
)
def test_words_are_stable(text: str, expected: tuple[str, ...]) -> None:
    # Scores are compared across versions: a change here needs another WORDS_VERSION.
    assert WORDS_VERSION == "1"
    assert words(text) == expected
