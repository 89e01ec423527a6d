"""What an encoder is given of a complaint: each was pretrained on text of its own form.

The form of AraBERT v0.2 is that of its authors' `ArabertPreprocessor` for models that need no
segmentation (https://github.com/aub-mind/arabert; Antoun et al. 2020, arXiv 2003.00104), with two
differences: an e-mail address becomes the placeholder for one, where theirs takes it for a link;
and what stands between `<` and `>` goes only if it is a tag, as "<" also means "less than".
"""

from __future__ import annotations

import html
import re
from typing import Literal

from tarjih.arabic import characters as ch
from tarjih.arabic.normalise import clean_text

Preprocessing = Literal["none", "e5", "arabert"]

E5_PREFIX = "query: "
LINK = "[\u0631\u0627\u0628\u0637]"  # AraBERT's placeholder: "link" in brackets
MAIL = "[\u0628\u0631\u064a\u062f]"  # "mail"
USER = "[\u0645\u0633\u062a\u062e\u062f\u0645]"  # "user"

_E5 = re.compile(r"(?<![a-z])e5(?![a-z0-9])")
_ARABERT = re.compile(r"arabert|araelectra")
_SEGMENTED = re.compile(r"arabert(v1|v2|)(?![a-z0-9])")

_LETTERS = "\u0621-\u063a\u0641-\u064a"  # ARABIC LETTER HAMZA .. GHAIN, ARABIC LETTER FEH .. YEH
_FOLDED: dict[int, str] = {
    **{ord(mark): "" for mark in ch.MARKS + ch.TATWEEL},
    **{ord(digit): plain for digit, plain in ch.DIGITS.items()},
}
# The punctuation of AraBERT's vocabulary. It has no slash; the authors write a dash for it.
_PUNCTUATION = (
    "!\"#$%'()*+,-.:;<=>?@[\\]^_`{|}~"
    "\u00ab\u00b7\u00bb"  # LEFT-POINTING QUOTATION MARK, MIDDLE DOT, RIGHT-POINTING QUOTATION MARK
    "\u060c\u061b\u061f\u066a\u066b\u066c"  # ARABIC COMMA, SEMICOLON, QUESTION MARK, PERCENT SIGN,
    # DECIMAL SEPARATOR, THOUSANDS SEPARATOR
    "\u2013\u2014\u2018\u2019\u201c\u201d\u2026"  # EN DASH, EM DASH, QUOTATION MARKS, ELLIPSIS
)
_MAIL = re.compile(r"[\w.+-]+@(?:[\w-]+\.)+[\w-]+")
_LINK = re.compile(
    r"(?:https?://|www\.)\S+|(?<![\w@.-])(?:[a-zA-Z0-9-]+\.)+[a-z]{2,6}(?![a-zA-Z0-9])(?:/\S*)?"
)
_USER = re.compile(r"@\w+")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_DRAWN_OUT = re.compile(r"(\D)\1{2,}")
_APART = re.compile(rf"([^0-9a-zA-Z{_LETTERS}\[\]])")
_DIGIT_BESIDE_LETTER = re.compile(rf"(?<=\d)(?=[{_LETTERS}])|(?<=[{_LETTERS}])(?=\d)")
_UNKNOWN = re.compile(rf"[^0-9a-zA-Z{_LETTERS}{re.escape(_PUNCTUATION)}]")


def preprocessing_of(model: str) -> Preprocessing:
    """The form that a model was pretrained on, by its name; plain text where the name is unknown.

    Args:
        model: a hub id, a folder or a packaged model, such as `aubmindlab/bert-base-arabertv02`.
    """
    name = _last_part(model)
    if _ARABERT.search(name):
        return "arabert"
    return "e5" if _E5.search(name) else "none"


def needs_segmentation(model: str) -> bool:
    """Whether a model of the AraBERT family was pretrained on words that Farasa took apart."""
    return _SEGMENTED.search(_last_part(model)) is not None


def prepare_text(complaint: str, form: Preprocessing) -> str:
    """A complaint in the form that an encoder reads; the empty one stays empty or a bare prefix."""
    text = clean_text(complaint)
    if form == "arabert":
        return _arabert(text)
    return E5_PREFIX + text if form == "e5" else text


def _last_part(model: str) -> str:
    return re.split(r"[/\\:]", model.rstrip("/\\"))[-1].lower()


def _arabert(text: str) -> str:
    text = html.unescape(text).translate(_FOLDED)
    text = _TAG.sub(" ", text)
    text = _USER.sub(f" {USER} ", _LINK.sub(f" {LINK} ", _MAIL.sub(f" {MAIL} ", text)))
    text = _DRAWN_OUT.sub(r"\1\1", text)
    text = _DIGIT_BESIDE_LETTER.sub(" ", _APART.sub(r" \1 ", text))
    return " ".join(_UNKNOWN.sub(" ", text.replace("/", "-")).split())
