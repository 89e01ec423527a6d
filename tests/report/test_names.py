from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.report.names import direction, join, latin, runs, short_model_names, showable

ARABIC = "\u062d\u0631\u0627\u0631\u0629"  # temperature


def test_models_are_shortened_while_they_can_be_told_apart() -> None:
    names = short_model_names(["org/one", "a/same", "b/same", "packaged:x", "folder/m/", "y" * 60])
    assert list(names.values())[:5] == ["one", "a/same", "b/same", "x", "m"]
    assert len(names["y" * 60]) == 28


@given(st.lists(st.text(max_size=12), max_size=6, unique=True))
def test_short_names_never_mix_up_two_models(models: list[str]) -> None:
    names = short_model_names(models)
    assert set(names) == set(models)
    assert len(set(names.values())) == len(models)


@given(st.text())
def test_showable_is_stable_and_latin_is_ascii(text: str) -> None:
    assert showable(showable(text)) == showable(text)
    assert latin(text).isascii()


def test_showable_keeps_arabic_lines_and_harmless_marks() -> None:
    text = f"{ARABIC}\n\t5\u200f"
    assert showable(text) == text
    assert showable("a\x00b\u202ec\ud800") == "a\ufffdbc\ufffd"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ARABIC, "rtl"),
        (f"CBC {ARABIC} {ARABIC}", "rtl"),  # dir="auto" would go by the C
        ("What is it?", "ltr"),
        (f"What is {ARABIC[0]}?", "ltr"),
        ("", "rtl"),
        ("37", "rtl"),
    ],
)
def test_direction_is_that_of_most_letters(text: str, expected: str) -> None:
    assert direction(text) == expected


@pytest.mark.parametrize(
    ("text", "isolated"),
    [
        (f"{ARABIC} (37.5 \u00b0C)", ["37.5 \u00b0C"]),
        (f"{ARABIC} Amlodipine 5 mg {ARABIC}", ["Amlodipine 5 mg"]),
        (f"{ARABIC} 20% {ARABIC} 145/95", ["20%"]),
        (f"{ARABIC} 3 {ARABIC}", []),
        ("", []),
    ],
)
def test_what_is_isolated(text: str, isolated: list[str]) -> None:
    assert [piece for piece, left_to_right in runs(text) if left_to_right] == isolated


@given(st.text(alphabet=f"{ARABIC}ab1% \u00b0.(\n"))
def test_pieces_make_up_the_text(text: str) -> None:
    assert "".join(piece for piece, _ in runs(text)) == text


def test_join() -> None:
    assert join(["a"]) == "a"
    assert join(["a", "b", "c"]) == "a, b and c"
