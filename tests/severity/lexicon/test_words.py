from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.errors import DataError
from tarjih.severity.lexicon.reading import bundled_lexicon
from tarjih.severity.lexicon.words import (
    fold_word,
    read_whole_words,
    sound,
    spelling_of,
    without_negation,
    words_of,
)


def readings(written: str) -> tuple[str, ...]:
    spelling = spelling_of(written)
    assert spelling is not None
    return spelling.readings


def test_particles_are_taken_off_but_not_down_to_nothing() -> None:
    assert readings("وبالنزيف")[0] == "وبالنزيف"
    assert {"نزيف", "النزيف", "بالنزيف"} <= set(readings("وبالنزيف"))
    assert "صدر" in readings("للصدر")
    assert readings("بول") == ("بول",)
    assert spelling_of("و") is None


def test_whole_words_keep_their_first_letters() -> None:
    assert readings("بطني") == ("بطني",)
    assert readings("وبطني") == ("وبطني", "بطني")


def test_only_in_on_and_for_mean_in() -> None:
    means = {
        word: spelling.means_in
        for word in ("بالصدر", "والصدر", "للصدر", "الصدر")
        if (spelling := spelling_of(word)) is not None
    }
    assert means == {"بالصدر": True, "والصدر": False, "للصدر": True, "الصدر": False}


def test_water_is_not_the_word_not() -> None:
    assert fold_word("ماء") != fold_word("ما")
    assert fold_word("الماء") == fold_word("ماء")


def test_a_negated_verb_gives_the_verb() -> None:
    assert without_negation("مياكلش") == "ياكل"
    assert without_negation("وماياكلش") == "ياكل"
    assert without_negation("عطش") is None
    assert without_negation("مشش") is None


def test_swapped_letters_sound_the_same() -> None:
    assert sound("انتظار") == sound("انتضار")
    assert sound("استفراغ") == sound("استفرراغ")
    assert sound("ضيق") is None


@given(text=st.text(max_size=200))
def test_words_lie_in_order_in_any_text(text: str) -> None:
    words = words_of(text)
    places = [place for word in words for place in (word.start, word.end)]
    assert places == sorted(places)
    assert [word.clause for word in words] == sorted(word.clause for word in words)


@pytest.mark.parametrize(
    "content", ['{"words": "no list"}', "[]", '{"words": [1]}', "{", '{"x":1}']
)
def test_damaged_whole_words_are_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "whole_words.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"whole_words\.json"):
        read_whole_words(file)


@pytest.mark.parametrize(
    "once",
    [
        "ن",
        "\u0640",
        "ن\u200f",
        "\u064b",
        " ",
        "،",
        "1.",
        "نزيف ",
        "ما ",
        "كان عندي نزيف والآن ",
        "ألم في في في ",
        "ضيق ",
        "امي انا نزيف ",
        "ما عندي ضيق نفس ولا الم في الصدر، ",
        "ببببالللل",
    ],
)
def test_a_long_text_takes_no_long_time(once: str) -> None:
    lexicon = bundled_lexicon()
    text = once * (100_000 // len(once.encode()) + 1)
    lexicon.read(text[: len(text) // 100])
    start = time.process_time()
    lexicon.read(text)
    assert time.process_time() - start < 3.0
