from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.severity.encoder.texts import (
    LINK,
    MAIL,
    USER,
    needs_segmentation,
    prepare_text,
    preprocessing_of,
)

HEAD = "\u0631\u0623\u0633\u064a"  # "my head"
PAIN = "\u0623\u0644\u0645"  # "pain"


@pytest.mark.parametrize(
    ("model", "form"),
    [
        ("packaged:e5-small", "e5"),
        ("intfloat/multilingual-e5-large", "e5"),
        ("C:\\models\\e5_base\\", "e5"),
        ("aubmindlab/bert-base-arabertv02", "arabert"),
        ("/models/AraBERT/", "arabert"),
        ("aubmindlab/araelectra-base-discriminator", "arabert"),
        ("google/mt5-base", "none"),
        ("UBC-NLP/MARBERTv2", "none"),
        ("/home/arabert/models/tiny", "none"),
        ("some/code5-base", "none"),
    ],
)
def test_the_form_goes_by_the_last_part_of_the_name(model: str, form: str) -> None:
    assert preprocessing_of(model) == form


@pytest.mark.parametrize(
    ("model", "segmented"),
    [
        ("aubmindlab/bert-base-arabert", True),
        ("aubmindlab/bert-base-arabertv2", True),
        ("aubmindlab/bert-large-arabertv2", True),
        ("aubmindlab/bert-base-arabertv02", False),
        ("aubmindlab/bert-base-arabertv02-twitter", False),
        ("aubmindlab/bert-base-arabertv01", False),
        ("packaged:e5-small", False),
    ],
)
def test_models_of_segmented_text_are_known(model: str, segmented: bool) -> None:
    assert needs_segmentation(model) is segmented


def test_plain_text_is_only_cleaned_and_e5_gets_its_prefix() -> None:
    text = f" {PAIN}\u200f  {HEAD}\u0640!"
    assert prepare_text(text, "none") == f"{PAIN} {HEAD}!"
    assert prepare_text(text, "e5") == f"query: {PAIN} {HEAD}!"
    assert prepare_text("", "none") == ""
    assert prepare_text("", "e5") == "query: "


# What ArabertPreprocessor("bert-base-arabertv02") gives, worked out by hand from its rules.
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"{PAIN} {HEAD}", f"{PAIN} {HEAD}"),
        ("\u0623\u064e\u0644\u0652\u0645\u064c", PAIN),  # fatha, sukun, dammatan
        (f"{PAIN}\u060c{HEAD}\u061f", f"{PAIN} \u060c {HEAD} \u061f"),  # comma, question mark
        (f"{PAIN}3{HEAD}", f"{PAIN} 3 {HEAD}"),
        ("\u0663\u0668.\u0665", "38 . 5"),  # 38.5 in Arabic-Indic digits
        ("B12 120/80", "B12 120 - 80"),
        ("\u0623\u0644\u0644\u0644\u0644\u0644\u0645 !!!!", "\u0623\u0644\u0644\u0645 ! !"),
        ("1111 kg", "1111 kg"),
        (f"{PAIN}<br />{HEAD} &lt;b&gt;x&lt;/b&gt;", f"{PAIN} {HEAD} x"),
        ("39 > x < 40", "39 > x < 40"),
        (f"{PAIN} https://a.example/b?c=1 x", f"{PAIN} {LINK} x"),
        ("www.a-b.example/x", LINK),
        (f"{HEAD} example.com.", f"{HEAD} {LINK} ."),
        (f"{PAIN} some.body+1@mail.example.org x", f"{PAIN} {MAIL} x"),
        (f"@some_body {PAIN}", f"{USER} {PAIN}"),
        (f"{PAIN} \U0001f622 \u4e2d", PAIN),  # an emoji and a Chinese letter are unknown
        (f"({PAIN})[{HEAD}]", f"( {PAIN} ) [{HEAD}]"),
        ("", ""),
    ],
)
def test_arabert_reads_what_it_was_pretrained_on(text: str, wanted: str) -> None:
    assert prepare_text(text, "arabert") == wanted


@given(st.text())
def test_any_text_becomes_words_one_blank_apart(text: str) -> None:
    found = prepare_text(text, "arabert")
    assert found == " ".join(found.split())
    assert not set(found) & {"/", "\u0640", "\u064e", "\ud800"}
