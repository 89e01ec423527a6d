"""The bundled data: what a reviewer of an entry may take for granted."""

from __future__ import annotations

import json
from itertools import product

import pytest

from tarjih.records import SEVERITIES, Severity
from tarjih.severity.lexicon.cues import KINDS
from tarjih.severity.lexicon.entries import BUNDLED, SIGN_FILES, read_entries
from tarjih.severity.lexicon.patterns import GAP, Forms
from tarjih.severity.lexicon.reading import bundled_lexicon, explain
from tarjih.severity.lexicon.words import fold_word, whole_words, words_of

ENTRIES = read_entries()
FORMS = {
    **{sign.id: sign.forms for sign in ENTRIES.signs},
    **ENTRIES.context,
    **ENTRIES.parts,
}


def test_files_are_ascii_with_arabic_escaped() -> None:
    for file in BUNDLED.glob("*.json"):
        assert file.read_bytes().isascii(), file.name


def test_each_file_holds_its_severity_and_only_sources_in_use() -> None:
    for name in SIGN_FILES:
        data = json.loads((BUNDLED / name).read_text(encoding="utf-8"))
        assert {f"{sign['severity']}.json" for sign in data["signs"]} == {name}
        assert set(data["sources"]) == {sign["source"] for sign in data["signs"]}


def test_all_kinds_of_cue_have_forms_and_all_parts_are_in_use() -> None:
    assert set(ENTRIES.context) == KINDS
    used = {part for sign in ENTRIES.signs for all_of in sign.together for part in all_of}
    assert set(ENTRIES.parts) == used


def test_each_sign_can_be_found_and_red_flags_are_in_all_dialects() -> None:
    for sign in ENTRIES.signs:
        assert any(sign.forms.values()) or sign.together, sign.id
    for severity in SEVERITIES:
        for dialect in ("msa", "egyptian", "levantine", "gulf", "maghrebi"):
            having = [
                bool(sign.forms.get(dialect)) for sign in ENTRIES.signs if sign.severity is severity
            ]
            assert sum(having) > len(having) / 2, (severity, dialect)


def test_no_form_stands_twice_for_a_reader_of_one_dialect() -> None:
    for name, dialects in FORMS.items():
        everywhere = list(dialects.get("msa", ()))
        for dialect, of_dialect in dialects.items():
            forms = everywhere if dialect == "msa" else [*everywhere, *of_dialect]
            assert len(forms) == len(set(forms)), (name, dialect)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_each_form_is_met_by_what_it_says(name: str) -> None:
    """Written as it stands: its first words, its last, and with words in its gaps."""
    forms = Forms([(name, form) for of in FORMS[name].values() for form in of])
    for form in (form for of in FORMS[name].values() for form in of):
        for choose, gap in product((0, -1), ("", "xyz xyz")):
            words = [
                gap if part == GAP else part.split("|")[choose].replace("_", " ").removesuffix("*")
                for part in form.split()
            ]
            found = forms.find(words_of(" ".join(words)))
            assert any(one.first == 0 for one in found), (form, words)


def test_whole_words_begin_like_a_particle() -> None:
    assert all(fold_word(word) == word for word in whole_words())
    assert len(whole_words()) > 100


def test_the_bundled_lexicon_explains_with_source_and_place() -> None:
    complaint = "عندي ألم شديد في الصدر، وما عندي سكري"
    reading = explain(complaint)
    assert reading.severity is Severity.CRITICAL
    (deciding,) = {complaint[one.start : one.end] for one in reading.deciding}
    assert deciding == "ألم شديد في الصدر"
    assert reading.deciding[0].sign.source[1].startswith("https://")


def test_red_flags_are_not_made_milder_by_a_word() -> None:
    assert bundled_lexicon().read("ألم خفيف في الصدر").severity is Severity.CRITICAL
