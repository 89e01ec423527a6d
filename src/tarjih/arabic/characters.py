"""Arabic characters as named, escaped data.

Escapes, not literals: a table of look-alike letters and invisible marks cannot be proof-read on
screen, and bidirectional text reorders the source lines that hold it. The names are Unicode's.
"""

from __future__ import annotations

import unicodedata

TATWEEL = "\u0640"  # ARABIC TATWEEL, stretches a word and carries no sound

# Short vowels and other marks over and under letters. Without them a word is still the same word.
MARK_RANGES: tuple[tuple[str, str], ...] = (
    ("\u0610", "\u061a"),  # ARABIC SIGN SALLALLAHOU ALAYHE WASSALLAM .. ARABIC SMALL KASRA
    ("\u064b", "\u065f"),  # ARABIC FATHATAN .. ARABIC WAVY HAMZA BELOW
    ("\u0670", "\u0670"),  # ARABIC LETTER SUPERSCRIPT ALEF
    ("\u06d6", "\u06dc"),  # ARABIC SMALL HIGH LIGATURE SAD .. ARABIC SMALL HIGH SEEN
    ("\u06df", "\u06e4"),  # ARABIC SMALL HIGH ROUNDED ZERO .. ARABIC SMALL HIGH MADDA
    ("\u06e7", "\u06e8"),  # ARABIC SMALL HIGH YEH .. ARABIC SMALL HIGH NOON
    ("\u06ea", "\u06ed"),  # ARABIC EMPTY CENTRE LOW STOP .. ARABIC SMALL LOW MEEM
    ("\u08d3", "\u08e1"),  # ARABIC SMALL LOW WAW .. ARABIC SMALL HIGH SIGN SAFHA
    ("\u08e3", "\u08ff"),  # ARABIC TURNED DAMMA BELOW .. ARABIC MARK SIDEWAYS NOON GHUNNA
)

ALEF = "\u0627"  # ARABIC LETTER ALEF
ALEF_FORMS = (
    "\u0622"  # ARABIC LETTER ALEF WITH MADDA ABOVE
    "\u0623"  # ARABIC LETTER ALEF WITH HAMZA ABOVE
    "\u0625"  # ARABIC LETTER ALEF WITH HAMZA BELOW
    "\u0671"  # ARABIC LETTER ALEF WASLA
    "\u0672"  # ARABIC LETTER ALEF WITH WAVY HAMZA ABOVE
    "\u0673"  # ARABIC LETTER ALEF WITH WAVY HAMZA BELOW
    "\u0675"  # ARABIC LETTER HIGH HAMZA ALEF
)

YEH = "\u064a"  # ARABIC LETTER YEH
ALEF_MAKSURA = "\u0649"  # ARABIC LETTER ALEF MAKSURA
YEH_FORMS = (
    ALEF_MAKSURA + "\u06cc"  # ARABIC LETTER FARSI YEH
    "\u06cd"  # ARABIC LETTER YEH WITH TAIL
    "\u06d2"  # ARABIC LETTER YEH BARREE
    "\u06d0"  # ARABIC LETTER E
    "\u0678"  # ARABIC LETTER HIGH HAMZA YEH
)

HEH = "\u0647"  # ARABIC LETTER HEH
TEH_MARBUTA = "\u0629"  # ARABIC LETTER TEH MARBUTA
HEH_FORMS = (
    "\u06be"  # ARABIC LETTER HEH DOACHASHMEE
    "\u06c1"  # ARABIC LETTER HEH GOAL
    "\u06c2"  # ARABIC LETTER HEH GOAL WITH HAMZA ABOVE
    "\u06c0"  # ARABIC LETTER HEH WITH YEH ABOVE
    "\u06d5"  # ARABIC LETTER AE
)
TEH_MARBUTA_FORMS = TEH_MARBUTA + "\u06c3"  # ARABIC LETTER TEH MARBUTA GOAL

KAF = "\u0643"  # ARABIC LETTER KAF
KAF_FORMS = (
    "\u06a9"  # ARABIC LETTER KEHEH
    "\u06aa"  # ARABIC LETTER SWASH KAF
    "\u06ab"  # ARABIC LETTER KAF WITH RING
)

HAMZA = "\u0621"  # ARABIC LETTER HAMZA
WAW = "\u0648"  # ARABIC LETTER WAW
WAW_WITH_HAMZA = "\u0624"  # ARABIC LETTER WAW WITH HAMZA ABOVE
YEH_WITH_HAMZA = "\u0626"  # ARABIC LETTER YEH WITH HAMZA ABOVE

DECIMAL_SEPARATOR = "\u066b"  # ARABIC DECIMAL SEPARATOR
THOUSANDS_SEPARATOR = "\u066c"  # ARABIC THOUSANDS SEPARATOR
PERCENT_SIGN = "\u066a"  # ARABIC PERCENT SIGN

ARABIC_INDIC_ZERO = "\u0660"  # ARABIC-INDIC DIGIT ZERO; the other nine follow it
EXTENDED_ARABIC_INDIC_ZERO = "\u06f0"  # EXTENDED ARABIC-INDIC DIGIT ZERO (Persian, Urdu)

# Characters that nobody sees. ZERO WIDTH JOINER and NON-JOINER are among them: in Arabic they only
# change how a letter is drawn, and the same word with and without them must be the same tokens.
INVISIBLE_RANGES: tuple[tuple[str, str], ...] = (
    ("\u00ad", "\u00ad"),  # SOFT HYPHEN
    ("\u034f", "\u034f"),  # COMBINING GRAPHEME JOINER
    ("\u061c", "\u061c"),  # ARABIC LETTER MARK
    ("\u180e", "\u180e"),  # MONGOLIAN VOWEL SEPARATOR
    ("\u200b", "\u200f"),  # ZERO WIDTH SPACE .. RIGHT-TO-LEFT MARK
    ("\u202a", "\u202e"),  # LEFT-TO-RIGHT EMBEDDING .. RIGHT-TO-LEFT OVERRIDE
    ("\u2060", "\u206f"),  # WORD JOINER .. NOMINAL DIGIT SHAPES (isolates are among them)
    ("\ufeff", "\ufeff"),  # ZERO WIDTH NO-BREAK SPACE, the byte order mark
    ("\ufff9", "\ufffb"),  # INTERLINEAR ANNOTATION ANCHOR .. TERMINATOR
    ("\ud800", "\udfff"),  # surrogates: halves of characters, which no UTF-8 file can hold
)

LINE_BREAKS = (
    "\r\n"
    "\u000b"  # LINE TABULATION
    "\u000c"  # FORM FEED
    "\u0085"  # NEXT LINE
    "\u2028"  # LINE SEPARATOR
    "\u2029"  # PARAGRAPH SEPARATOR
)

# Blocks of letters drawn in their joined shapes, as PDF extraction and old software write them.
PRESENTATION_RANGES: tuple[tuple[str, str], ...] = (
    ("\ufb50", "\ufdff"),  # ARABIC PRESENTATION FORMS-A
    ("\ufe70", "\ufefc"),  # ARABIC PRESENTATION FORMS-B
)


def characters_in(ranges: tuple[tuple[str, str], ...]) -> str:
    """All the characters of closed ranges, in order."""
    return "".join(
        chr(point) for first, last in ranges for point in range(ord(first), ord(last) + 1)
    )


def ordinary_form(character: str) -> str:
    """The ordinary letters of a presentation form.

    The compatibility decomposition of an isolated mark starts with a blank or a tatweel to carry
    the mark; nobody wrote that carrier, so it goes.
    """
    plain = unicodedata.normalize("NFKC", character)
    if len(plain) > 1 and unicodedata.category(plain[-1]) == "Mn":
        return plain.lstrip(" " + TATWEEL)
    return plain


MARKS = characters_in(MARK_RANGES)
INVISIBLE = characters_in(INVISIBLE_RANGES)
DIGITS: dict[str, str] = {
    chr(ord(zero) + value): str(value)
    for zero in (ARABIC_INDIC_ZERO, EXTENDED_ARABIC_INDIC_ZERO)
    for value in range(10)
}
PRESENTATION_FORMS: dict[str, str] = {
    character: ordinary_form(character)
    for character in characters_in(PRESENTATION_RANGES)
    if ordinary_form(character) != character
}
