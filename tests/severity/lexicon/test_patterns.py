from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.severity.lexicon.patterns import FormError, Forms, Found, parse_form
from tarjih.severity.lexicon.words import words_of

ARABIC = st.text("ابتثجحخدذرزسشصضطظعغفقكلمنهويةىأإآءؤئ ،.؟!", max_size=60)


def matches(form: str, text: str) -> list[tuple[int, int]]:
    found = Forms([("sign", form)]).find(words_of(text))
    return [(one.first, one.last) for one in found]


def test_words_know_where_they_are_and_in_which_clause() -> None:
    text = "عندي صُداعٌ، و حرارة 39.5. شكراً"
    words = words_of(text)
    assert [text[word.start : word.end][:3] for word in words] == [
        "عند", "صُد", "حرا", "39", "5", "شكر"
    ]  # fmt: skip
    assert [word.clause for word in words] == [0, 0, 1, 1, 1, 2]
    assert words[1].spelling.readings[0] == "صداع"


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("ضيق تنفس", "عندي ضيق تنفس", [(1, 2)]),
        ("ضيق تنفس", "عندي ضيق في التنفس", []),
        ("ضيق ... تنفس", "عندي ضيق شديد في التنفس", [(1, 4)]),
        ("ضيق ... تنفس", "ضيق واحد اثنين ثلاثة اربعة تنفس", []),
        ("ضيق|ضيقه تنفس|نفس", "ضيقة نفس", [(0, 1)]),
        ("نزيف*", "النزيفات كثيرة", [(0, 0)]),
        ("نزيف", "والنزيف", [(0, 0)]),
        ("نزيف", "بالنزيف وللنزيف", [(0, 0), (1, 1)]),
        ("بنزف", "عم بنزف", [(1, 1)]),
        ("ألم الصدر", "أَلَمٌ بالصدر", [(0, 1)]),
        ("ألم صدر", "ألم. صدر", []),
        ("ألم ... صدر", "ألم، في صدر", []),
        ("ألم في صدر", "ألم بالصدر", [(0, 1)]),
        ("ألم في صدر", "ألم صدر", []),
        ("صداع|وجع_راس قوي", "وجع راس قوي", [(0, 2)]),
        ("صداع|وجع_راس قوي", "صداع قوي", [(0, 1)]),
        ("صداع|وجع_راس قوي", "وجع قوي", []),
        ("استفراغ", "استفرااااغ", [(0, 0)]),
        ("نظيف", "نضيف", []),
        ("عظام", "عظامي", [(0, 0)]),
        ("انتظار", "انتضار", [(0, 0)]),
    ],
)
def test_where_a_form_is_met(form: str, text: str, expected: list[tuple[int, int]]) -> None:
    assert matches(form, text) == expected


def test_of_a_name_the_longest_match_at_a_place_counts() -> None:
    forms = Forms([("pain", "ألم"), ("pain", "ألم شديد"), ("other", "شديد")])
    assert forms.find(words_of("ألم شديد")) == [Found("pain", (0, 1)), Found("other", (1,))]


def test_a_verb_with_its_negation_in_one_word_is_denied() -> None:
    forms = Forms([("eats", "ياكل")])
    assert forms.find(words_of("مياكلش")) == [Found("eats", (0,), denied=True)]
    assert forms.find(words_of("ياكل")) == [Found("eats", (0,))]


LETTERS = {"a": "صداع", "b": "نزيف", "c": "شديد", "d": "مفاجئ", "x": "كلام"}
FORMS = {
    "one": ["a", "a b", "a b ... c"],
    "two": ["b|c ... d", "d ... d"],
    "three": ["a|b ... c ... d", "c"],
}


@given(text=st.text("abcdx,", max_size=14))
def test_the_index_finds_what_regular_expressions_find(text: str) -> None:
    forms = Forms(
        (name, "".join(LETTERS.get(letter, letter) for letter in form))
        for name, several in FORMS.items()
        for form in several
    )
    found = forms.find(words_of(" ".join("،" if at == "," else LETTERS[at] for at in text)))
    expected = set()
    for name, several in FORMS.items():
        for start in range(len(text)):
            ends = [
                match.end()
                for form in several
                if (match := _expression(form).match(text, start)) is not None
            ]
            if ends:
                numbers = [len(text[:at].replace(",", "")) for at in (start, max(ends) - 1)]
                expected.add((name, *numbers))
    assert {(one.name, one.first, one.last) for one in found} == expected


def _expression(form: str) -> re.Pattern[str]:
    parts = ["[^,]{0,3}?" if part == "..." else f"[{part}]" for part in form.split()]
    return re.compile("".join(parts).replace("|", ""))


def test_what_is_no_form_names_its_entry() -> None:
    with pytest.raises(FormError, match=r"pain: the form '\.\.\.' has no word") as caught:
        Forms([("fever", "حرارة"), ("pain", "...")])
    assert caught.value.name == "pain"


@pytest.mark.parametrize("form", ["", "...", "... ألم", "ألم ...", "اب*", "ألم ؟"])
def test_what_is_no_form_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match="the form"):
        parse_form(form)


@given(text=ARABIC)
def test_every_word_of_a_text_is_a_form_that_is_met_where_it_stands(text: str) -> None:
    words = words_of(text)
    for place, word in enumerate(words):
        assert (place, place) in matches(text[word.start : word.end], text)


@given(text=ARABIC, form=st.sampled_from(["ألم|وجع ... صدر", "نزيف*", "ضيق تنفس"]))
def test_any_text_is_accepted_and_matches_lie_in_it(text: str, form: str) -> None:
    words = words_of(text)
    for first, last in matches(form, text):
        assert 0 <= first <= last < len(words)
        assert words[first].clause == words[last].clause
