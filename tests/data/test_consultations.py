"""The consultations that ship with tarjih: what anyone who fine-tunes on them relies on."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tarjih.arabic.normalise import clean_text, comparison_key, words
from tarjih.data.clean import mask_contacts
from tarjih.data.duplicates import Fingerprints, find_groups
from tarjih.data.sources import BUNDLED, find_source
from tarjih.data.summary import PrepareSettings
from tarjih.records import SEVERITIES

KEYS = ["id", "complaint", "response", "specialty", "dialect", "severity"]
DIALECTS = {"msa", "egyptian", "gulf", "levantine", "maghrebi"}
TEXTS = ("complaint", "response")

EXPECTED = re.compile(
    "["
    "\u0621-\u063a\u0641-\u064a"  # ARABIC LETTER HAMZA .. GHAIN, FEH .. YEH: no look-alikes
    "\u064b-\u0652"  # ARABIC FATHATAN .. SUKUN
    "\u0660-\u0669\u066b"  # Arabic-Indic digits, ARABIC DECIMAL SEPARATOR
    "\u060c\u061b\u061f"  # ARABIC COMMA, SEMICOLON, QUESTION MARK
    r"A-Za-z0-9 .,:!()/+\-"
    "]+"
)
# A Latin letter beside an Arabic one would be a look-alike or a slip of the keyboard.
MIXED_WORD = re.compile("[A-Za-z][\u0621-\u0652]|[\u0621-\u0652][A-Za-z]")

# What a response to an emergency tells to do, as `words` folds it (bare alef, no marks). A person
# can check this list; verbs may take the endings and pronouns below.
ACTIONS = (
    "\u0627\u062a\u0635\u0644",  # ittasil: call
    "\u0627\u0637\u0644\u0628",  # utlub: ask for (an ambulance)
    "\u0627\u0633\u062a\u062f\u0639",  # istad'i: summon
    "\u0643\u0644\u0645",  # kallim: phone (Egyptian)
    "\u0639\u064a\u0637",  # 'ayyit: phone (Maghrebi)
    "\u0646\u0627\u062f",  # nadi: call for (someone)
    "\u0627\u064a\u0642\u0638",  # ayqiz: wake up (someone)
    "\u0627\u0630\u0647\u0628",  # idhhab: go
    "\u062a\u0648\u062c\u0647",  # tawajjah: head for
    "\u0627\u0646\u0637\u0644\u0642",  # intaliq: set off
    "\u0627\u0642\u0635\u062f",  # iqsid: make for
    "\u0631\u0627\u062c\u0639",  # raji': see (the emergency department)
    "\u0631\u0648\u062d",  # ruh: go (dialects)
    "\u0633\u064a\u0631",  # sir: go (Maghrebi)
    "\u0627\u0646\u0632\u0644",  # inzil: go down
    "\u0627\u0631\u062c\u0639",  # irja': go back
    "\u0627\u062e\u0631\u062c",  # ukhruj: go out
    "\u0627\u0637\u0644\u0639",  # itla': go out (Gulf)
    "\u062e\u0630",  # khudh: take
    "\u062e\u062f",  # khud: take (Egyptian)
    "\u0627\u0646\u0642\u0644",  # unqul: carry over
    "\u0627\u062d\u0645\u0644",  # ihmil: carry
    "\u0648\u062f",  # waddi: take to (Gulf)
    "\u062f\u064a",  # ddi: take to (Maghrebi)
    "\u062e\u0644",  # khalli: let, have (someone do)
    "\u0627\u0639\u0637",  # a'ti: give
    "\u0627\u0633\u062a\u0639\u0645\u0644",  # ista'mil: use
    "\u0627\u063a\u0633\u0644",  # ighsil: rinse
    "\u0636\u0639",  # da': put
    "\u0634\u064a\u0644",  # shil: take away (Egyptian)
    "\u0627\u062c\u0644\u0633",  # ijlis, ajlis: sit, sit up
    "\u0627\u0633\u062a\u0644\u0642",  # istalqi: lie down
    "\u0645\u062f\u062f",  # maddid: lay down
    "\u0627\u0628\u0642",  # ibqa: stay
    "\u062a\u0648\u0642\u0641",  # tawaqqaf: stop
    "\u0627\u0648\u0642\u0641",  # awqif: stop (someone)
    "\u0648\u0642\u0641",  # waqqif: stop (Gulf)
    "\u062d\u0628\u0633",  # hbes: stop (Maghrebi)
    "\u0633\u064a\u0628",  # sib: leave (Egyptian)
    "\u0627\u0645\u0646\u0639",  # imna': keep from
)
TO = "\u0627\u0644\u064a"  # ila: to (the emergency department)
_ENDINGS = "\u064a|\u0648\u0627|\u0648|\u0627|"  # -i (to a woman), -u (to several), -a (to two)
_PRONOUNS = "\u0647|\u0647\u0627|\u0647\u0645|"  # him, her, them
ACTION = re.compile(
    "[\u0648\u0641]?"  # wa-, fa-: and
    f"(?:{'|'.join(ACTIONS)})(?:{_ENDINGS})(?:{_PRONOUNS})"
)
SENTENCE_END = re.compile("[.!\u061f]")

FILE = resources.files("tarjih.data") / "consultations" / "consultations.jsonl"
ROWS: list[dict[str, Any]] = list(map(json.loads, FILE.read_text("utf-8").split("\n")[:-1]))


def rows_of(severity: str) -> list[dict[str, Any]]:
    return [row for row in ROWS if row["severity"] == severity]


def word_count(text: str) -> int:
    return len(text.split())


def test_the_file_is_the_bundled_source() -> None:
    assert find_source(BUNDLED).path == Path(str(FILE))


def test_rows_have_the_keys_in_order_and_all_are_filled() -> None:
    for row in ROWS:
        assert list(row) == KEYS
        assert all(isinstance(value, str) and value for value in row.values()), row["id"]


def test_there_is_enough_of_everything() -> None:
    assert len(ROWS) >= 360
    severities = Counter(row["severity"] for row in ROWS)
    assert set(severities) == {str(severity) for severity in SEVERITIES}
    assert min(severities.values()) >= 120
    dialects = Counter(row["dialect"] for row in ROWS)
    assert set(dialects) == DIALECTS
    assert min(dialects.values()) >= 60
    assert len({row["specialty"] for row in ROWS}) >= 15


@pytest.mark.parametrize("key", ["id", *TEXTS])
def test_ids_complaints_and_responses_are_unique(key: str) -> None:
    folded = [row[key] if key == "id" else comparison_key(row[key]) for row in ROWS]
    assert [value for value, count in Counter(folded).items() if count > 1] == []


@pytest.mark.parametrize("key", TEXTS)
def test_texts_hold_only_expected_characters(key: str) -> None:
    for row in ROWS:
        strange = {f"U+{ord(character):04X}" for character in EXPECTED.sub("", row[key])}
        assert not strange, f"{row['id']} {key}"
        assert not MIXED_WORD.search(row[key]), f"{row['id']} {key}"
        assert clean_text(row[key]) == row[key], f"{row['id']} {key}"


@pytest.mark.parametrize("key", TEXTS)
def test_texts_hold_no_contact_details(key: str) -> None:
    assert [row["id"] for row in ROWS if mask_contacts(row[key]) != row[key]] == []
    assert [row["id"] for row in ROWS if re.search(r"@|www|http|\d{7}", row[key])] == []


def test_no_two_complaints_are_near_duplicates() -> None:
    prints = Fingerprints.of([comparison_key(row["complaint"]) for row in ROWS])
    threshold = PrepareSettings().near_duplicate_similarity
    assert len(set(find_groups(prints, threshold).tolist())) == len(ROWS)


def test_complaints_are_short_and_long() -> None:
    lengths = sorted(word_count(row["complaint"]) for row in ROWS)
    assert lengths[len(lengths) // 20] <= 15
    assert lengths[-len(lengths) // 20] >= 45
    for severity in SEVERITIES:
        counts = [word_count(row["complaint"]) for row in rows_of(severity)]
        assert min(counts) <= 10
        assert max(counts) >= 60


@pytest.mark.parametrize("key", ["specialty", "dialect"])
def test_specialty_and_dialect_do_not_give_the_severity_away(key: str) -> None:
    counts = Counter((row[key], row["severity"]) for row in ROWS)
    for value in {row[key] for row in ROWS}:
        found = [counts[value, str(severity)] for severity in SEVERITIES]
        assert min(found) >= 5, value
        assert max(found) <= 0.6 * sum(found), value
    guessed = sum(
        max(counts[value, str(severity)] for severity in SEVERITIES)
        for value in {row[key] for row in ROWS}
    )
    assert guessed / len(ROWS) <= 0.45


def area_under_curve(mild: list[float], severe: list[float]) -> float:
    """The chance that a severe one is larger than a mild one; 0.5 says nothing."""
    differences = np.subtract.outer(np.array(severe), np.array(mild))
    return float((differences > 0).mean() + (differences == 0).mean() / 2)


@pytest.mark.parametrize(
    ("key", "measure"), [("response", word_count), ("response", len), ("complaint", word_count)]
)
def test_severity_cannot_be_told_from_the_length(key: str, measure: Callable[[str], int]) -> None:
    for one, other in combinations(SEVERITIES, 2):
        lengths = [[float(measure(row[key])) for row in rows_of(s)] for s in (one, other)]
        assert 0.3 <= area_under_curve(lengths[0], lengths[1]) <= 0.7, (one, other)


def test_responses_do_not_start_alike() -> None:
    beginnings = Counter(" ".join(words(row["response"])[:6]) for row in ROWS)
    assert max(beginnings.values()) <= 2
    shorter = Counter(" ".join(words(row["response"])[:3]) for row in ROWS)
    assert max(shorter.values()) <= 0.04 * len(ROWS)


def first_sentence(response: str) -> tuple[str, ...]:
    return words(SENTENCE_END.split(response)[0])


def starts_with_an_action(response: str) -> bool:
    first, *rest = first_sentence(response)
    if first == TO:  # "to the emergency department now, and ..."
        return any(ACTION.fullmatch(word) for word in rest)
    return ACTION.fullmatch(first) is not None


def test_critical_responses_start_with_what_to_do() -> None:
    without = [
        row["id"] for row in rows_of("critical") if not starts_with_an_action(row["response"])
    ]
    assert without == []


def test_every_listed_action_occurs_and_the_list_tells_responses_apart() -> None:
    text = " ".join(" ".join(first_sentence(row["response"])) for row in rows_of("critical"))
    assert [stem for stem in ACTIONS if not re.search(rf"\b[\u0648\u0641]?{stem}", text)] == []
    calm = [row for row in ROWS if row["severity"] == "non_critical"]
    assert sum(starts_with_an_action(row["response"]) for row in calm) <= 0.1 * len(calm)
