"""Whether a sign of severity counts, and how strong it is called: what the words around it say.

A sign does not count where it is denied ("I have no shortness of breath"), over ("two years ago I
had"), asked about in general ("can it cause"), or a relative's. A cue reaches signs of its own
clause, and what is denied or over ends where the complaint turns ("but", "now", "I have").
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import accumulate

from tarjih.severity.lexicon.patterns import Found
from tarjih.severity.lexicon.words import Word

# The kinds of `context.json`, and how they act on a sign.
NEGATION_BEFORE = "negation_before"
NEGATION_ADJACENT = "negation_adjacent"
NEGATION_AFTER = "negation_after"
NOT_NEGATION = "not_negation"  # what looks like a negation and is none: "not only", "cannot"
TURN = "turn"  # but, now, I have: ends what a denial or a past reaches
PAST = "past"
WAS = "was"  # over if the complaint goes on to say that it ended, or what is now
NOW = "now"
ENDED = "ended"
STILL = "still"  # keeps a past from ending a sign
IN_GENERAL = "in_general"
IF = "if"
FAMILY_HISTORY = "family_history"
RELATIVE = "relative"  # theirs if the complaint goes on to speak of the speaker
SPEAKER = "speaker"
HEREDITY = "heredity"  # theirs, too
INTENSITY_UP = "intensity_up"
INTENSITY_DOWN = "intensity_down"
SUDDEN = "sudden"
WORSENING = "worsening"
DURATION = "duration"  # what has lasted for weeks is not slight
KINDS = frozenset(
    {
        NEGATION_BEFORE,
        NEGATION_ADJACENT,
        NEGATION_AFTER,
        NOT_NEGATION,
        TURN,
        PAST,
        WAS,
        NOW,
        ENDED,
        STILL,
        IN_GENERAL,
        IF,
        FAMILY_HISTORY,
        RELATIVE,
        SPEAKER,
        HEREDITY,
        INTENSITY_UP,
        INTENSITY_DOWN,
        SUDDEN,
        WORSENING,
        DURATION,
    }
)
_NEGATIONS = (NEGATION_BEFORE, NEGATION_ADJACENT, NEGATION_AFTER)

# How many words a cue reaches, counted between its last word and the sign's first.
_REACH_OF_DENIAL = 5
_REACH_AFTER = 2
_REACH_OF_CONTEXT = 7
_REACH_OF_PERSON = 4
_REACH_OF_STRENGTH = 2


class Standing(StrEnum):
    """Whether a sign counts, and if not, why."""

    COUNTS = "counts"
    DENIED = "denied"
    OVER = "over"
    IN_GENERAL = "in_general"
    OF_A_RELATIVE = "of_a_relative"


def without_covered(found: Sequence[Found]) -> list[Found]:
    """Without those whose words another match has with more: "appetite" in "no appetite"."""
    with_word: dict[int, list[Found]] = {}
    for one in found:
        for word in one.words:
            with_word.setdefault(word, []).append(one)
    return [one for one in found if not any(_covers(other, one) for other in with_word[one.first])]


def _covers(wide: Found, narrow: Found) -> bool:
    if len(wide.words) > len(narrow.words):
        return set(narrow.words) < set(wide.words)
    return wide.words == narrow.words and wide.name == NOT_NEGATION and narrow.name in _NEGATIONS


class Cues:
    """The cues of one complaint and what they reach.

    Args:
        words: of the complaint.
        cues: where a form of a kind of `KINDS` is met.
        signs: where a form of a sign is met; a negation that is part of a sign ("cannot breathe")
            denies no other.
    """

    def __init__(
        self, words: Sequence[Word], cues: Sequence[Found], signs: Sequence[Found]
    ) -> None:
        self._clause = [word.clause for word in words]
        self._last_sign = max((sign.first for sign in signs), default=-1)
        of_signs = {word for sign in signs for word in sign.words}
        self._ending: dict[str, dict[int, Found]] = {}
        self._beginning: dict[str, dict[int, Found]] = {}
        self._last: dict[str, Found] = {}
        for cue in without_covered(cues):
            if cue.name in _NEGATIONS and of_signs.issuperset(cue.words):
                continue
            self._ending.setdefault(cue.name, {})[cue.last] = cue
            self._beginning.setdefault(cue.name, {})[cue.first] = cue
            self._last[cue.name] = max(cue, self._last.get(cue.name, cue), key=_first)
        turns = self._beginning.get(TURN, {})
        self._turns = list(accumulate(int(place in turns) for place in range(len(words))))

    def standing(self, sign: Found) -> tuple[Standing, Found | None]:
        """Whether a sign counts; if not, the cue that says why, where it is a word of its own."""
        denied = self._denial(sign)
        if sign.denied or denied is not None:
            return Standing.DENIED, denied
        for standing, cue in (
            (Standing.OVER, self._past(sign)),
            (Standing.IN_GENERAL, self._general(sign)),
            (Standing.OF_A_RELATIVE, self._relative(sign)),
        ):
            if cue is not None:
                return standing, cue
        return Standing.COUNTS, None

    def step(self, sign: Found) -> int:
        """How many steps more severe (or, below 0, less) a sign is for how it is called."""
        if self._after(INTENSITY_DOWN, sign, 1) or self._before(
            INTENSITY_DOWN, sign, _REACH_OF_STRENGTH
        ):
            return 0 if self._near(DURATION, sign, _REACH_OF_CONTEXT) else -1
        quick = any(self._near(kind, sign, _REACH_OF_CONTEXT) for kind in (SUDDEN, WORSENING))
        return int(quick and self._near(INTENSITY_UP, sign, _REACH_OF_STRENGTH) is not None)

    def _denial(self, sign: Found) -> Found | None:
        return (
            self._before(NEGATION_BEFORE, sign, _REACH_OF_DENIAL)
            or self._before(NEGATION_ADJACENT, sign, 1)
            or self._after(NEGATION_AFTER, sign, _REACH_AFTER)
            or self._within(sign)
        )

    def _within(self, sign: Found) -> Found | None:
        """A negation among the words that a gap of the form passes over."""
        for word in sign.skipped:
            for kind in (NEGATION_BEFORE, NEGATION_ADJACENT):
                cue = self._ending.get(kind, {}).get(word)
                if cue is not None and (kind == NEGATION_BEFORE or word + 1 in sign.words):
                    return cue
        return None

    def _past(self, sign: Found) -> Found | None:
        if self._near(STILL, sign, _REACH_OF_CONTEXT) is not None:
            return None
        past = self._near(PAST, sign, _REACH_OF_CONTEXT)
        if past is not None:
            return past
        was = self._before(WAS, sign, _REACH_OF_PERSON)
        if was is None or self._later(WORSENING, sign) is not None:
            return None
        return was if self._later(NOW, sign) or self._later(ENDED, sign) else None

    def _general(self, sign: Found) -> Found | None:
        return self._before(IN_GENERAL, sign, _REACH_OF_CONTEXT) or self._before(IF, sign, 1)

    def _relative(self, sign: Found) -> Found | None:
        history = self._before(FAMILY_HISTORY, sign, _REACH_OF_CONTEXT)
        if history is not None:
            return history
        relative = self._before(RELATIVE, sign, _REACH_OF_PERSON, over_turns=True)
        if relative is None:
            return None
        speaks = self._beginning.get(SPEAKER, {})
        if any(word in speaks for word in range(relative.last + 1, sign.first)):
            return None
        speaker = self._later(SPEAKER, sign)
        of_speaker = speaker is not None and self._last_sign > speaker.last
        return relative if of_speaker or self._later(HEREDITY, sign) else None

    def _near(self, kind: str, sign: Found, reach: int) -> Found | None:
        return self._before(kind, sign, reach) or self._after(kind, sign, reach)

    def _before(
        self, kind: str, sign: Found, reach: int, *, over_turns: bool = False
    ) -> Found | None:
        """The nearest cue that begins before a sign and ends at most `reach` words before it.

        It may end within the sign: "I have no" before "have pain".
        """
        ending = self._ending.get(kind)
        if not ending:
            return None
        for place in range(sign.last - 1, sign.first - reach - 1, -1):
            cue = ending.get(place)
            if cue is not None and cue.first < sign.first and self._reaches(cue, sign, over_turns):
                return cue
        return None

    def _after(self, kind: str, sign: Found, reach: int) -> Found | None:
        beginning = self._beginning.get(kind)
        if not beginning:
            return None
        for place in range(sign.last + 1, sign.last + reach + 1):
            cue = beginning.get(place)
            if cue is not None and self._reaches(cue, sign, over_turns=False):
                return cue
        return None

    def _later(self, kind: str, sign: Found) -> Found | None:
        """The last cue of the complaint, where it stands after the sign."""
        cue = self._last.get(kind)
        return cue if cue is not None and cue.first > sign.last else None

    def _reaches(self, cue: Found, sign: Found, over_turns: bool) -> bool:
        return self._clause[cue.last] == self._clause[sign.first] and (
            over_turns or self._turns[cue.last] == self._turns[sign.first]
        )


def _first(cue: Found) -> int:
    return cue.first
