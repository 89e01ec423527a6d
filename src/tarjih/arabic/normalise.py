"""Normalisation of Arabic text: three pure functions, from careful to bold.

`clean_text` keeps what the doctor wrote and only removes what nobody can see; models read its
result. `words` folds spelling variants that are not mistakes, for metrics. `comparison_key` folds
everything that two people may write differently, to find out whether two complaints are the same.
"""

from __future__ import annotations

import re
import unicodedata

from tarjih.arabic import characters as ch

WORDS_VERSION = "1"  # part of the signature of every metric that counts words; see `words`


def _folding(*pairs: tuple[str, str]) -> dict[int, str]:
    return {ord(character): target for characters, target in pairs for character in characters}


_CONTROLS = "".join(chr(point) for point in (*range(0x20), *range(0x7F, 0xA0)))
_CLEANING: dict[int, str] = {
    **_folding((_CONTROLS, ""), (ch.INVISIBLE, ""), (ch.TATWEEL, "")),
    **_folding((ch.LINE_BREAKS, "\n"), ("\t", " ")),
    **{ord(form): plain for form, plain in ch.PRESENTATION_FORMS.items()},
}
_SPELLING: dict[int, str] = {
    **_folding((ch.MARKS, ""), (ch.ALEF_FORMS, ch.ALEF), (ch.YEH_FORMS, ch.YEH)),
    **_folding((ch.KAF_FORMS, ch.KAF), (ch.HEH_FORMS, ch.HEH)),
    **_folding((ch.TEH_MARBUTA_FORMS, ch.TEH_MARBUTA)),
    **_folding((ch.DECIMAL_SEPARATOR, "."), (ch.THOUSANDS_SEPARATOR, "")),
    **{ord(digit): plain for digit, plain in ch.DIGITS.items()},
}
_BOLD: dict[int, str] = {
    **_SPELLING,
    **_folding((ch.TEH_MARBUTA_FORMS, ch.HEH), (ch.HAMZA, "")),
    **_folding((ch.WAW_WITH_HAMZA, ch.WAW), (ch.YEH_WITH_HAMZA, ch.YEH)),
}

_BREAKS = re.compile(r"[^\S\n]*\n\s*")
_BLANKS = re.compile(r"[^\S\n]+")
_WORD = re.compile(r"\d+(?:\.\d+)*|[^\W\d_]+")
_NO_WORD = re.compile(r"[\W_]+")
_DRAWN_OUT = re.compile(r"([^\W\d_])\1{2,}")


def clean_text(text: str) -> str:
    r"""Remove what nobody can see and unify how the same letter is encoded; keep the rest.

    Presentation forms become ordinary letters; tatweel, bidirectional controls, zero-width and
    control characters go; runs of blanks become one blank and runs of line breaks one ``\n``; the
    result is in Unicode normal form C. Diacritics, hamza forms, digits, punctuation, decimal points
    and units stay. Applying it twice changes nothing more.
    """
    plain = unicodedata.normalize("NFC", text.translate(_CLEANING))
    return _BREAKS.sub("\n", _BLANKS.sub(" ", plain)).strip()


def comparison_key(text: str) -> str:
    """Fold a text so that two ways to write the same complaint become equal strings.

    Diacritics, standing hamza, punctuation and symbols go; alef forms become bare alef, alef
    maqsura and Farsi yeh become ya, ta marbuta becomes ha, hamza on waw or ya becomes that letter;
    digits are ASCII, Latin is lower case, a letter drawn out three times or more is kept twice, and
    words are one blank apart. The key may be empty.
    """
    folded = _fold(text, _BOLD)
    return _DRAWN_OUT.sub(r"\1\1", _NO_WORD.sub(" ", folded)).strip()


def words(text: str) -> tuple[str, ...]:
    """The words of a text for metrics such as ROUGE, safe for Arabic (version `WORDS_VERSION`).

    Diacritics and tatweel go; alef forms become bare alef, alef maqsura and Farsi yeh become ya
    (ta marbuta and hamza on waw and ya stay); digits are ASCII; Latin is lower case. A word is a
    run of letters or a number with its decimal point, so that "2.5mg" and "2.5 mg" are the same
    words; everything else separates.
    """
    return tuple(_WORD.findall(_fold(text, _SPELLING)))


def _fold(text: str, table: dict[int, str]) -> str:
    # Lower-casing comes before the last composition, as it can decompose (Turkish dotted I).
    plain = unicodedata.normalize("NFKC", text.translate(_CLEANING)).lower()
    return unicodedata.normalize("NFC", plain).translate(table)
