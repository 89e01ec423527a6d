"""Reading a complaint: which signs of severity it holds, which of them count, and what follows.

The highest severity among the signs that count decides. How strong a sign is called moves it by one
step. Some signs are more than one thing, wherever in the complaint they stand: a fever, and a neck
that does not bend. Such things are "parts", and no sign by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tarjih.files import sha256_of
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.lexicon.cues import KINDS, Cues, Standing, without_covered
from tarjih.severity.lexicon.entries import BUNDLED, Dialects, Sign, faulty, read_entries
from tarjih.severity.lexicon.patterns import FormError, Forms, Found
from tarjih.severity.lexicon.words import Word, words_of


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sign in a complaint: characters [start, end), its severity here, and whether it counts.

    `severity` may be a step beside the sign's own, where the patient calls it slight, or severe and
    sudden. `because` is where the words are that keep it from counting; None where it counts, or
    where the sign's own verb is negated. Of a sign that is several things each is evidence.
    """

    sign: Sign
    start: int
    end: int
    severity: Severity
    standing: Standing
    because: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a complaint says; `severity` is None where no sign counts."""

    severity: Severity | None
    evidence: tuple[Evidence, ...]

    @property
    def deciding(self) -> tuple[Evidence, ...]:
        """The evidence of the severity that decided."""
        return tuple(
            one
            for one in self.evidence
            if one.standing is Standing.COUNTS and one.severity is self.severity
        )


class Lexicon:
    """Signs and cues, ready to read complaints.

    Args:
        signs: of all severities.
        context: cue kind -> dialect -> forms, as in `context.json`.
        parts: part -> dialect -> forms, as in `parts.json`.

    Raises:
        FormError: naming the entry, when a form is none, a name is given twice, or a kind or a
            part is unknown.
    """

    def __init__(
        self,
        signs: Sequence[Sign],
        context: Mapping[str, Dialects],
        parts: Mapping[str, Dialects] | None = None,
    ) -> None:
        parts = parts or {}
        self.signs = {sign.id: sign for sign in signs}
        self._parts = frozenset(parts)
        _check_names(signs, context, parts)
        named = [(sign.id, sign.forms) for sign in signs] + [*context.items(), *parts.items()]
        self._forms = Forms(
            (name, form)
            for name, dialects in named
            for of_dialect in dialects.values()
            for form in of_dialect
        )
        self._together = [
            (sign, all_of, frozenset(all_of)) for sign in signs for all_of in sign.together
        ]
        self.digest = sha256_of(
            [
                [[s.id, str(s.severity), s.forms, s.together] for s in self.signs.values()],
                context,
                parts,
            ]
        )

    def read(self, complaint: str) -> Reading:
        """Read a complaint; every text is accepted."""
        words = words_of(complaint)
        found = self._forms.find(words)
        signs = without_covered([one for one in found if one.name in self.signs])
        cues = Cues(words, [one for one in found if one.name in KINDS], signs)
        evidence = [self._weigh(self.signs[one.name], one, words, cues) for one in signs]
        parts = without_covered([one for one in found if one.name in self._parts])
        evidence += self._weigh_together(parts, words, cues)
        counting = [one.severity for one in evidence if one.standing is Standing.COUNTS]
        return Reading(max(counting, key=SEVERITIES.index, default=None), tuple(evidence))

    def _weigh(self, sign: Sign, found: Found, words: Sequence[Word], cues: Cues) -> Evidence:
        standing, cue = cues.standing(found)
        return Evidence(
            sign=sign,
            start=words[found.first].start,
            end=words[found.last].end,
            severity=_moved(sign.severity, cues.step(found)),
            standing=standing,
            because=None if cue is None else (words[cue.first].start, words[cue.last].end),
        )

    def _weigh_together(
        self, parts: Sequence[Found], words: Sequence[Word], cues: Cues
    ) -> Iterator[Evidence]:
        """Evidence of signs all of whose parts count; the first that counts of each part."""
        counting: dict[str, Found] = {}
        for part in parts:
            if part.name not in counting and cues.standing(part)[0] is Standing.COUNTS:
                counting[part.name] = part
        if len(counting) > 1:
            for sign, all_of, needed in self._together:
                if needed <= counting.keys():
                    for name in all_of:
                        yield self._weigh(sign, counting[name], words, cues)


def _check_names(
    signs: Sequence[Sign], context: Mapping[str, Dialects], parts: Mapping[str, Dialects]
) -> None:
    for kind in context.keys() - KINDS:
        raise FormError(kind, "there is no such kind of cue")
    seen = set(KINDS)
    for name in [*parts, *(sign.id for sign in signs)]:
        if name in seen:
            raise FormError(name, "another entry has the same name")
        seen.add(name)
    for sign in signs:
        for part in (part for all_of in sign.together for part in all_of):
            if part not in parts:
                raise FormError(sign.id, f"no part is named {part!r}")


def _moved(severity: Severity, step: int) -> Severity:
    if severity is Severity.CRITICAL:  # a slight pain in the chest is a pain in the chest
        return severity
    place = SEVERITIES.index(severity) + step
    return SEVERITIES[min(max(place, 0), len(SEVERITIES) - 1)]


def explain(complaint: str) -> Reading:
    """What the bundled lexicon finds in a complaint, with the places in the text as it was given.

    Each piece of evidence has the characters it stands on, the sign with its English name and its
    source, the severity here, and whether it counts (and what keeps it from that).
    """
    return bundled_lexicon().read(complaint)


@cache
def bundled_lexicon() -> Lexicon:
    """The lexicon that comes with the package."""
    return read_lexicon()


def read_lexicon(folder: Path = BUNDLED) -> Lexicon:
    """The lexicon whose data files are in a folder.

    Raises:
        DataError: when one is absent or damaged, or an entry is malformed, naming file and entry.
    """
    entries = read_entries(folder)
    try:
        return Lexicon(entries.signs, entries.context, entries.parts)
    except FormError as error:
        raise faulty(entries.file_of[error.name], error.name, error.what) from None
