from __future__ import annotations

import unicodedata

import pytest

from tarjih.arabic import characters as ch


@pytest.mark.parametrize(
    ("character", "name"),
    [
        (ch.TATWEEL, "ARABIC TATWEEL"),
        (ch.ALEF, "ARABIC LETTER ALEF"),
        (ch.YEH, "ARABIC LETTER YEH"),
        (ch.ALEF_MAKSURA, "ARABIC LETTER ALEF MAKSURA"),
        (ch.TEH_MARBUTA, "ARABIC LETTER TEH MARBUTA"),
        (ch.HEH, "ARABIC LETTER HEH"),
        (ch.KAF, "ARABIC LETTER KAF"),
        (ch.HAMZA, "ARABIC LETTER HAMZA"),
        (ch.WAW, "ARABIC LETTER WAW"),
        (ch.WAW_WITH_HAMZA, "ARABIC LETTER WAW WITH HAMZA ABOVE"),
        (ch.YEH_WITH_HAMZA, "ARABIC LETTER YEH WITH HAMZA ABOVE"),
        (ch.DECIMAL_SEPARATOR, "ARABIC DECIMAL SEPARATOR"),
        (ch.THOUSANDS_SEPARATOR, "ARABIC THOUSANDS SEPARATOR"),
        (ch.PERCENT_SIGN, "ARABIC PERCENT SIGN"),
        (ch.ARABIC_INDIC_ZERO, "ARABIC-INDIC DIGIT ZERO"),
        (ch.EXTENDED_ARABIC_INDIC_ZERO, "EXTENDED ARABIC-INDIC DIGIT ZERO"),
    ],
)
def test_each_named_character_is_what_its_name_says(character: str, name: str) -> None:
    assert unicodedata.name(character) == name


def test_marks_are_combining_and_no_letters() -> None:
    assigned = [mark for mark in ch.MARKS if unicodedata.category(mark) != "Cn"]

    assert {unicodedata.category(mark) for mark in assigned} == {"Mn"}


@pytest.mark.parametrize(
    ("forms", "part_of_the_name"),
    [
        (ch.ALEF_FORMS, "ALEF"),
        (ch.YEH_FORMS, ("YEH", "MAKSURA", "LETTER E")),
        (ch.KAF_FORMS, ("KAF", "KEHEH")),
        (ch.HEH_FORMS, ("HEH", "AE")),
        (ch.TEH_MARBUTA_FORMS, "TEH MARBUTA"),
    ],
)
def test_forms_of_a_letter_are_letters_of_that_name(
    forms: str, part_of_the_name: str | tuple[str, ...]
) -> None:
    parts = (part_of_the_name,) if isinstance(part_of_the_name, str) else part_of_the_name

    for form in forms:
        assert any(part in unicodedata.name(form) for part in parts)


def test_invisible_characters_hold_every_bidirectional_control() -> None:
    bidirectional = {
        chr(point)
        for point in range(0x3000)
        if unicodedata.bidirectional(chr(point))
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    }

    assert bidirectional
    assert bidirectional <= set(ch.INVISIBLE)


def test_digits_have_their_values() -> None:
    assert len(ch.DIGITS) == 20
    assert all(unicodedata.digit(digit) == int(plain) for digit, plain in ch.DIGITS.items())


def test_presentation_forms_become_ordinary_characters() -> None:
    assert ch.PRESENTATION_FORMS["\ufefb"] == "\u0644\u0627"  # LIGATURE LAM WITH ALEF ISOLATED
    assert ch.PRESENTATION_FORMS["\ufdf2"] == "\u0627\u0644\u0644\u0647"  # LIGATURE ALLAH
    blocks = set(ch.characters_in(ch.PRESENTATION_RANGES))
    assert not any(set(plain) & blocks for plain in ch.PRESENTATION_FORMS.values())


@pytest.mark.parametrize("form", ["\ufe70", "\ufe77", "\ufc60"])
def test_isolated_marks_lose_the_blank_or_tatweel_that_carries_them(form: str) -> None:
    plain = ch.PRESENTATION_FORMS[form]

    assert plain
    assert all(unicodedata.category(character) == "Mn" for character in plain)
