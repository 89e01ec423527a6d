"""Forms of signs, and where they occur in a text.

A form is words in order, one blank apart. `a|b` is any of the words, `a|b_c` also two words where
others are one, a trailing `*` any word that begins so, and `...` on its own up to `WIDEST_GAP`
words of anything. A word of the text meets a word of a form in any of its readings
(`words.Spelling`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise, product
from typing import NamedTuple

from tarjih.severity.lexicon.words import (
    Spelling,
    Word,
    fold_word,
    guesses,
    sound,
    spelling_of,
    without_negation,
)

WIDEST_GAP = 3
GAP = "..."
_JOINT = "_"
_PREFIX_KEY = 3  # letters of a `*` word that it is looked up by, and its fewest
_KEPT_MEETINGS = 1 << 16  # spellings whose places in forms are remembered
_GAP_PLACE = -1
# In, in, on, on, at, for, to, with: a place of these alone is also met by the particle of the word
# after it.
_PREPOSITIONS = frozenset(
    map(
        fold_word,
        (
            "\u0641\u064a",
            "\u0641",
            "\u0639\u0644\u0649",
            "\u0639",
            "\u0639\u0646\u062f",
            "\u0644",
            "\u0625\u0644\u0649",
            "\u0628",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a form: words to be met exactly, and beginnings."""

    exact: frozenset[str]
    beginnings: frozenset[str]

    @property
    def is_preposition(self) -> bool:
        """Whether nothing but prepositions stands here."""
        return not self.beginnings and self.exact <= _PREPOSITIONS


@dataclass(frozen=True, slots=True)
class Found:
    """Words of a text, by number and ascending, that a form of `name` matches.

    `denied` says that one of them is a verb with its negation in one word.
    """

    name: str
    words: tuple[int, ...]
    denied: bool = False

    @property
    def first(self) -> int:
        """The number of its first word."""
        return self.words[0]

    @property
    def last(self) -> int:
        """The number of its last word."""
        return self.words[-1]

    @property
    def skipped(self) -> Iterator[int]:
        """The words between that a gap of the form passes over."""
        return (word for one, other in pairwise(self.words) for word in range(one + 1, other))


class _Way(NamedTuple):
    """A way through a form of `name`, as numbers of places, and those it cannot do without."""

    name: str
    places: tuple[int, ...]
    needed: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Which places a spelling meets, by number, and whether only as a negated verb.

    Attributes:
        beginning: the ways that begin with it, by one place that each of them needs.
        at_once: the ways that begin with it and need nothing more.
    """

    places: frozenset[int]
    denied: bool
    beginning: dict[int, list[_Way]]
    needed: frozenset[int]  # the keys of `beginning`; two sets meet much faster than dict views
    at_once: tuple[_Way, ...]


class FormError(ValueError):
    """A form that is none.

    Attributes:
        name: what it would be a form of.
    """

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name
        self.what = what


class Forms:
    """Many forms of many names, looked up by their first words.

    Args:
        forms: (name, form) pairs.

    Raises:
        FormError: when a form is empty, begins or ends with a gap, or has too short a `*`.
    """

    def __init__(self, forms: Iterable[tuple[str, str]]) -> None:
        self._numbers: dict[Place, int] = {}
        ways = [
            (name, tuple(self._number(place) for place in places))
            for name, form in forms
            for places in _parsed(name, form)
        ]
        self._prepositions = {n for place, n in self._numbers.items() if place.is_preposition}
        optional = self._prepositions | {_GAP_PLACE}
        self._beginning_at: dict[int, list[_Way]] = defaultdict(list)
        for name, numbers in ways:
            needed = frozenset(numbers[1:]) - optional
            self._beginning_at[numbers[0]].append(_Way(name, numbers, needed))
        self._exact: dict[str, set[int]] = defaultdict(set)
        self._beginnings: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self._sounds: dict[str, set[int]] = defaultdict(set)
        for place, number in self._numbers.items():
            for word in place.exact:
                self._exact[word].add(number)
                heard = sound(word)
                if heard is not None:
                    self._sounds[heard].add(number)
            for beginning in place.beginnings:
                self._beginnings[beginning[:_PREFIX_KEY]].append((beginning, number))
        self._meeting = lru_cache(maxsize=_KEPT_MEETINGS)(self._find_meeting)

    def _number(self, place: Place | None) -> int:
        return _GAP_PLACE if place is None else self._numbers.setdefault(place, len(self._numbers))

    def find(self, words: Sequence[Word]) -> list[Found]:
        """All matches, in the order of their first words; of a name's at one place the longest."""
        meetings = [self._meeting(word.spelling) for word in words]
        text = _Text(words, meetings, self._prepositions)
        longest: dict[tuple[str, int], tuple[int, ...]] = {}
        for at, meeting in enumerate(meetings):
            for way in _possible(meeting, text.met):
                matched = text.match(way.places, at)
                if matched and matched[-1] > longest.get((way.name, at), (-1,))[-1]:
                    longest[way.name, at] = matched
        return [
            Found(name, matched, any(meetings[word].denied for word in matched))
            for (name, _), matched in longest.items()
        ]

    def _find_meeting(self, spelling: Spelling) -> _Meeting:
        places, denied = self._find_places(spelling)
        ways = [way for number in places for way in self._beginning_at.get(number, ())]
        beginning: dict[int, list[_Way]] = defaultdict(list)
        for way in ways:
            if way.needed:
                beginning[max(way.needed)].append(way)  # the later a place, the rarer
        at_once = tuple(way for way in ways if not way.needed)
        return _Meeting(places, denied, dict(beginning), frozenset(beginning), at_once)

    def _find_places(self, spelling: Spelling) -> tuple[frozenset[int], bool]:
        """The places that a word meets as it is, or else as it may have been meant."""
        places = self._exactly(spelling.readings)
        if places:
            return places | self._by_beginning(spelling.readings), False
        verb = without_negation(spelling.readings[0])
        denied = spelling_of(verb) if verb is not None else None
        meant = frozenset() if denied is None else self._meant(denied)
        return (meant, True) if meant else (self._meant(spelling), False)

    def _meant(self, spelling: Spelling) -> frozenset[int]:
        readings = spelling.readings
        stems = [stem for reading in readings for stem in guesses(reading)]
        sounds = [heard for reading in readings if (heard := sound(reading)) is not None]
        exact = (
            self._exactly(readings)
            or self._exactly(stems)
            or frozenset(n for heard in sounds for n in self._sounds.get(heard, ()))
        )
        return exact | self._by_beginning(readings)

    def _exactly(self, readings: Iterable[str]) -> frozenset[int]:
        return frozenset(n for reading in readings for n in self._exact.get(reading, ()))

    def _by_beginning(self, readings: Iterable[str]) -> frozenset[int]:
        return frozenset(
            number
            for reading in readings
            for beginning, number in self._beginnings.get(reading[:_PREFIX_KEY], ())
            if reading.startswith(beginning)
        )


def _possible(meeting: _Meeting, met: frozenset[int]) -> Iterator[_Way]:
    """The ways that begin with a word, and whose other places are somewhere in the text."""
    yield from meeting.at_once
    for number in meeting.needed & met:
        for way in meeting.beginning[number]:
            if way.needed <= met:
                yield way


class _Text:
    """The places that the words of a text meet, and the ways that a form goes through them."""

    def __init__(
        self, words: Sequence[Word], meetings: Sequence[_Meeting], prepositions: Set[int]
    ) -> None:
        self._words = words
        self._met = [meeting.places for meeting in meetings]
        self.met = frozenset().union(*self._met)
        self._prepositions = prepositions
        self._clause_end = [len(words)] * len(words)
        for at in range(len(words) - 2, -1, -1):
            same = words[at].clause == words[at + 1].clause
            self._clause_end[at] = self._clause_end[at + 1] if same else at + 1

    def match(self, numbers: tuple[int, ...], at: int) -> tuple[int, ...] | None:
        """The words that a form matches whose first word is `at`, all in one clause."""
        return self._match(numbers, 0, at, self._clause_end[at])

    def _match(
        self, numbers: tuple[int, ...], place: int, at: int, end: int
    ) -> tuple[int, ...] | None:
        if place == len(numbers):
            return ()
        number = numbers[place]
        if number == _GAP_PLACE:
            ways = (
                self._match(numbers, place + 1, at + skip, end) for skip in range(WIDEST_GAP + 1)
            )
            return next((way for way in ways if way is not None), None)
        if at < end and number in self._met[at]:
            rest = self._match(numbers, place + 1, at + 1, end)
            if rest is not None:
                return (at, *rest)
        if at < end and number in self._prepositions and self._words[at].spelling.means_in:
            return self._match(numbers, place + 1, at, end)
        return None


def _parsed(name: str, form: str) -> list[tuple[Place | None, ...]]:
    try:
        return parse_form(form)
    except ValueError as error:
        raise FormError(name, str(error)) from None


def parse_form(form: str) -> list[tuple[Place | None, ...]]:
    """The ways through a form, each a row of places; None is a gap.

    Raises:
        ValueError: when it is empty, begins or ends with a gap, or has too short a `*`.
    """
    ways = [tuple(chain(*way)) for way in product(*(_ways(part, form) for part in form.split()))]
    if any(not way or way[0] is None or way[-1] is None for way in ways):
        raise ValueError(f"the form {form!r} has no word at its beginning or end")
    return ways


def _ways(part: str, form: str) -> list[tuple[Place | None, ...]]:
    """A part of a form as one place, and each of its alternatives of several words as several."""
    if part == GAP:
        return [(None,)]
    single = [word for word in part.split("|") if _JOINT not in word]
    joint = [word.split(_JOINT) for word in part.split("|") if _JOINT in word]
    ways: list[tuple[Place | None, ...]] = [(_place(single, form),)] if single else []
    return ways + [tuple(_place([word], form) for word in words) for words in joint]


def _place(words: Sequence[str], form: str) -> Place:
    exact, beginnings = set(), set()
    for word in words:
        folded = fold_word(word.removesuffix("*"))
        if not folded:
            raise ValueError(f"the form {form!r} has {word!r} where a word should be")
        if not word.endswith("*"):
            exact.add(folded)
        elif len(folded) < _PREFIX_KEY:
            raise ValueError(f"the form {form!r} has a beginning of {len(folded)} letters")
        else:
            beginnings.add(folded)
    return Place(frozenset(exact), frozenset(beginnings))
