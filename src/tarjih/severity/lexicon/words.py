"""The words of a complaint, and how each of them may be read.

Arabic writes particles and pronouns in one with the word they belong to, and patients write as they
speak, with letters drawn out or swapped. A word is therefore read in several ways; the ways that
guess are tried only where the others lead to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from pathlib import Path

from tarjih.arabic.characters import (
    ALEF,
    HAMZA,
    HEH,
    INVISIBLE,
    MARKS,
    TATWEEL,
    WAW,
    YEH,
)
from tarjih.arabic.normalise import comparison_key
from tarjih.errors import DataError, shorten
from tarjih.files import read_json

# Letters that stay of a word when particles are taken off; "and" and "so" also stand before "not".
_SHORTEST_STEM = 3
_SHORTEST_AFTER_AND = 2
_SHORTEST_SOUND = 5
_WHOLE_WORDS = Path(__file__).with_name("data") / "whole_words.json"
_KEPT_SPELLINGS = 1 << 16  # words of all complaints whose readings are remembered

_LETTER = rf"[^\W_]|[{MARKS}{TATWEEL}]"
_HIDDEN = "".join(re.escape(character) for character in INVISIBLE)
_WORD = re.compile(rf"(?:{_LETTER})(?:{_LETTER}|[{_HIDDEN}])*")
# A comma, a line break and a full stop end what a negation reaches over; a decimal point does not.
_STOP = re.compile(r"[!?\n\u060c\u061b\u061f;:]|[.,](?!\d)|(?<!\d)[.,]")

_FEH, _BEH, _LAM, _AIN = "\u0641", "\u0628", "\u0644", "\u0639"
_MEEM, _SHEEN, _TEH, _NOON = "\u0645", "\u0634", "\u062a", "\u0646"
_THE = ALEF + _LAM
# Particles before a word: and, so; in, as, for, on and the dialects' signs of present and future;
# the. Beside them: for the (written with one lam more), and 3am of the Levantine present.
_CONJUNCTIONS = ("", WAW, _FEH)
_PREPOSITIONS = ("", _BEH, "\u0643", _LAM, _AIN, HEH, "\u062d")
_PARTICLES = sorted(
    {
        *map("".join, product(_CONJUNCTIONS, _PREPOSITIONS, ("", _THE))),
        *(conjunction + _LAM + _LAM for conjunction in _CONJUNCTIONS),
        *(conjunction + _AIN + _MEEM for conjunction in _CONJUNCTIONS),
    }
    - {""}
)
_BY_LETTER = {
    letter: tuple(particle for particle in _PARTICLES if particle.startswith(letter))
    for letter in {particle[0] for particle in _PARTICLES}
}
# Those among them that mean "in", "on" or "for", as a word of its own does elsewhere.
_MEANS_IN = frozenset(_FEH + _BEH + _LAM + _AIN)
# Pronouns after a word: me, my, her, our. Others are as often the end of another word.
_PRONOUNS = (_NOON + YEH, HEH + ALEF, _NOON + ALEF, YEH)
# "Water" folds to the same letters as "not" and "what": it is read as its plural.
_WATER = ALEF.join((_MEEM, "")) + HAMZA
_WATERS = _MEEM + YEH + ALEF + HEH

# Letters that dialects swap, to one of them.
_SWAPPED = str.maketrans(
    {
        "\u0638": "\u0636",  # zah to dad
        "\u0635": "\u0633",  # sad to seen
        "\u0637": _TEH,  # tah to teh
        "\u062b": _TEH,  # theh to teh
        "\u0630": "\u062f",  # thal to dal
    }
)
_DOUBLED = re.compile(r"(.)\1+")


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """How one written word may be read; equal to itself alone, for it is looked up very often.

    Attributes:
        readings: folded as a whole, then without particles before it.
        means_in: whether one of the particles means "in", "on" or "for".
    """

    readings: tuple[str, ...]
    means_in: bool


@dataclass(frozen=True, slots=True)
class Word:
    """Characters [start, end) of a text, how they may be read, and which clause they are in."""

    start: int
    end: int
    spelling: Spelling
    clause: int


def words_of(text: str) -> list[Word]:
    """The words of a text in order; words between the same two stops are of one clause.

    "And" on its own belongs to the word after it, as it does where it is written in one with it.
    """
    stops = [stop.start() for stop in _STOP.finditer(text)]
    words: list[Word] = []
    passed = 0
    for match in _WORD.finditer(text):
        start = match.start()
        while passed < len(stops) and stops[passed] < start:
            passed += 1
        spelling = spelling_of(match.group())
        if spelling is not None:
            words.append(Word(start, match.end(), spelling, passed))
    return words


@lru_cache(maxsize=_KEPT_SPELLINGS)
def spelling_of(written: str) -> Spelling | None:
    """How a written word may be read; None where it is no word but "and"."""
    folded = fold_word(written)
    if folded in ("", WAW):
        return None
    for conjunction in _CONJUNCTIONS:
        rest = folded.removeprefix(conjunction)
        if folded.startswith(conjunction) and rest in whole_words():
            return Spelling(tuple(dict.fromkeys((folded, rest))), means_in=False)
    stems = [
        (particle, folded.removeprefix(particle))
        for particle in _BY_LETTER.get(folded[0], ())
        if folded.startswith(particle)
        and len(folded) - len(particle)
        >= (_SHORTEST_AFTER_AND if particle in _CONJUNCTIONS else _SHORTEST_STEM)
    ]
    readings = tuple(dict.fromkeys((folded, *(stem for _, stem in stems))))
    return Spelling(
        readings, any(_MEANS_IN & set(particle.removesuffix(_THE)) for particle, _ in stems)
    )


@cache
def whole_words() -> frozenset[str]:
    """Words, folded, that begin like a particle and have none: "only" is not "and a cat"."""
    return read_whole_words(_WHOLE_WORDS)


def read_whole_words(file: Path) -> frozenset[str]:
    """Read `whole_words.json`.

    Raises:
        DataError: when it is absent or damaged, naming the entry.
    """
    data = read_json(file)
    words = data.get("words") if isinstance(data, dict) else None
    if not isinstance(words, list):
        raise _damaged(file, "there is no list `words`")
    for number, word in enumerate(words, start=1):
        if not isinstance(word, str) or not fold_word(word):
            raise _damaged(file, f"number {number} of `words` is {shorten(word)}, and no word")
    return frozenset(map(fold_word, words))


def _damaged(file: Path, what: str) -> DataError:
    return DataError(what, file=file, remedy="mend the entry, or install the package again")


def fold_word(written: str) -> str:
    """A word as forms and texts are compared; empty where nothing of it is a letter or digit."""
    if _bare(written) in (_WATER, _THE + _WATER):
        return _WATERS
    folded = comparison_key(written)
    return "" if " " in folded else folded


def _bare(written: str) -> str:
    return "".join(letter for letter in written if letter not in MARKS and letter != TATWEEL)


def without_negation(folded: str) -> str | None:
    """The verb of "ma-...-sh", in which dialects write "did not" in one word; else None."""
    if not folded.endswith(_SHEEN):
        return None
    verb = folded.removesuffix(_SHEEN)
    for particle in (WAW + _MEEM + ALEF, _MEEM + ALEF, WAW + _MEEM, _MEEM):
        if verb.startswith(particle) and len(verb) - len(particle) >= _SHORTEST_STEM:
            return verb.removeprefix(particle)
    return None


def guesses(reading: str) -> Iterator[str]:
    """What a reading may stand for where it is no known word: undoubled, or without a pronoun."""
    single = _DOUBLED.sub(r"\1", reading)
    if single != reading and len(single) >= _SHORTEST_STEM and single.isalpha():
        yield single
    for pronoun in _PRONOUNS:
        if reading.endswith(pronoun) and len(reading) - len(pronoun) >= _SHORTEST_STEM:
            stem = reading.removesuffix(pronoun)
            yield stem
            if stem.endswith(_TEH):  # "my gum": the teh of a feminine noun, which is heh without
                yield stem.removesuffix(_TEH) + HEH


def sound(reading: str) -> str | None:
    """A word with letters that are swapped or drawn out unified; None for too short a word."""
    plain = _DOUBLED.sub(r"\1", reading.translate(_SWAPPED))
    if len(plain) < _SHORTEST_SOUND or not plain.isalpha():
        return None
    return plain[:-1] + HEH if plain.endswith(ALEF) else plain
