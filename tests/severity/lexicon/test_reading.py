from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.records import SEVERITIES, Severity
from tarjih.severity.lexicon.cues import Standing
from tarjih.severity.lexicon.entries import Sign
from tarjih.severity.lexicon.patterns import FormError
from tarjih.severity.lexicon.reading import Lexicon

CRITICAL, NEUTRAL, MILD = Severity.CRITICAL, Severity.NEUTRAL, Severity.NON_CRITICAL
Together = tuple[tuple[str, ...], ...]
SOURCE = ("A leaflet", "https://example.org")


def sign(name: str, severity: Severity, *forms: str, together: Together = ()) -> Sign:
    return Sign(name, severity, name, SOURCE, {"msa": forms}, together)


LEXICON = Lexicon(
    [
        sign("breathless", CRITICAL, "ضيق ... نفس|تنفس", "مش قادر اتنفس"),
        sign("bleeding", CRITICAL, "نزيف*"),
        sign("headache", NEUTRAL, "صداع"),
        sign("acne", MILD, "حب شباب", "حبوب"),
        sign("meningitis", CRITICAL, together=(("fever", "stiff-neck"),)),
    ],
    {
        "negation_before": {"msa": ["ما عندي", "بدون", "لا يوجد", "ولا", "مش"]},
        "negation_after": {"msa": ["اختفى"]},
        "not_negation": {"msa": ["مش قادر", "لا شك"]},
        "turn": {"msa": ["بس", "لكن", "الآن", "عندي"]},
        "past": {"msa": ["كان عندي", "سابقا"]},
        "still": {"msa": ["ما زال", "لسه"]},
        "in_general": {"msa": ["هل يمكن", "ما هي اعراض"]},
        "family_history": {"msa": ["والدي كان"]},
        "intensity_up": {"msa": ["شديد*"]},
        "intensity_down": {"msa": ["خفيف*"]},
        "sudden": {"msa": ["فجأة"]},
        "worsening": {"msa": ["يزيد"]},
        "negation_adjacent": {"msa": ["مو", "غير"]},
        "was": {"msa": ["كنت"]},
        "now": {"msa": ["اليوم"]},
        "ended": {"msa": ["خلص"]},
        "if": {"msa": ["اذا"]},
        "relative": {"msa": ["امي"]},
        "speaker": {"msa": ["انا"]},
        "heredity": {"msa": ["وراثي"]},
        "duration": {"msa": ["من شهور"]},
    },
    {
        "fever": {"msa": ["حرارة"]},
        "stiff-neck": {"msa": ["رقبتي متيبسة"]},
        "cold": {"msa": ["برد"]},
    },
)


COMMON = (
    "عندي ما بدون نزيف ضيق في نفس صداع حبوب شديد خفيف فجأة كان والآن بس امي انا وراثي كنت خلص اذا "
    "حرارة رقبتي متيبسة غير من شهور اختفى ولا"
)


@pytest.mark.parametrize(
    ("complaint", "severity"),
    [
        ("", None),
        ("السلام عليكم دكتور", None),
        ("عندي حبوب في وجهي", MILD),
        ("عندي حبوب وصداع", NEUTRAL),
        ("عندي صداع مع ضيق في التنفس", CRITICAL),
        ("عندي صداع بدون ضيق في التنفس", NEUTRAL),
        ("ما عندي نزيف ولا ضيق نفس", None),
        ("ما عندي حبوب، عندي نزيف", CRITICAL),
        ("مش قادر اتنفس", CRITICAL),
        ("لا شك عندي نزيف", CRITICAL),
        ("كان عندي نزيف والآن حبوب", MILD),
        ("كان عندي نزيف وما زال", CRITICAL),
        ("هل يمكن أن يسبب الدواء نزيف", None),
        ("والدي كان عنده نزيف. عندي صداع", NEUTRAL),
        ("النزيف اختفى وبقي صداع", NEUTRAL),
        ("صداع خفيف", MILD),
        ("صداع شديد", NEUTRAL),
        ("صداع شديد فجأة", CRITICAL),
        ("صداع شديد يزيد", CRITICAL),
        ("نزيف خفيف", CRITICAL),
        ("مو نزيف", None),
        ("مو شي كبير نزيف", CRITICAL),
        ("كنت في نزيف", CRITICAL),
        ("كنت في نزيف وخلص", None),
        ("كنت في نزيف اليوم حبوب", MILD),
        ("كنت في نزيف يزيد", CRITICAL),
        ("كنت في نزيف وخلص بس يزيد", CRITICAL),
        ("اذا نزيف اجي", None),
        ("امي معها نزيف", CRITICAL),
        ("امي معها نزيف انا معي حبوب", MILD),
        ("امي معها نزيف انا بخير", CRITICAL),
        ("امي انا معي نزيف", CRITICAL),
        ("امي معها نزيف هل هو وراثي", None),
        ("صداع خفيف من شهور", NEUTRAL),
        ("خفيف صداع", MILD),
        ("صداع فجأة", NEUTRAL),
        ("صداع شديد وكلام كثير بعيد عن ما قبله كله فجأة", NEUTRAL),
        ("ضيق مو نفس", None),
        ("بدون دواء وكلام كثير بعيد ايضا نزيف", CRITICAL),
        ("بدون دواء. نزيف", CRITICAL),
    ],
)
def test_the_highest_severity_that_counts_decides(
    complaint: str, severity: Severity | None
) -> None:
    assert LEXICON.read(complaint).severity == severity


def test_a_reading_says_which_words_decided_and_why_others_do_not_count() -> None:
    complaint = "دكتور، ما عندي نزيف بس ضيق شديد في التنفس"
    reading = LEXICON.read(complaint)
    standing = {one.sign.id: one.standing for one in reading.evidence}
    assert standing["bleeding"] is Standing.DENIED
    (deciding,) = reading.deciding
    assert complaint[deciding.start : deciding.end] == "ضيق شديد في التنفس"
    assert deciding.sign.source == SOURCE


@pytest.mark.parametrize(
    ("complaint", "severity"),
    [
        ("حرارة", None),
        ("حرارة مع برد", None),
        ("عندي حرارة من امس. دكتور، رقبتي متيبسة", CRITICAL),
        ("ما عندي حرارة، رقبتي متيبسة", None),
        ("ما عندي حرارة. اختي عندها حرارة. رقبتي متيبسة", CRITICAL),
    ],
)
def test_several_things_are_a_sign_together(complaint: str, severity: Severity | None) -> None:
    reading = LEXICON.read(complaint)
    assert reading.severity == severity
    assert len(reading.deciding) == (0 if severity is None else 2)


def test_the_words_that_keep_a_sign_from_counting_are_named() -> None:
    complaint = "سابقا نزيف. امي معها صداع، انا حبوب بدون ضيق نفس"
    told = {
        one.sign.id: (one.standing, one.because and complaint[slice(*one.because)])
        for one in LEXICON.read(complaint).evidence
    }
    assert told == {
        "bleeding": (Standing.OVER, "سابقا"),
        "headache": (Standing.OF_A_RELATIVE, "امي"),
        "acne": (Standing.COUNTS, None),
        "breathless": (Standing.DENIED, "بدون"),
    }


@given(text=st.lists(st.sampled_from([*COMMON.split(), "،", ".", "xyz", "39.5"]), max_size=20))
def test_any_text_is_read_and_what_is_found_lies_in_it(text: list[str]) -> None:
    complaint = " ".join(text)
    reading = LEXICON.read(complaint)
    counting = [one for one in reading.evidence if one.standing is Standing.COUNTS]
    assert (reading.severity is None) == (not counting) == (not reading.deciding)
    for one in reading.evidence:
        assert 0 <= one.start < one.end <= len(complaint)
        assert complaint[one.start : one.end].strip() == complaint[one.start : one.end]
        if one.standing is Standing.COUNTS:
            assert one.because is None
            assert reading.severity is not None
            assert SEVERITIES.index(one.severity) <= SEVERITIES.index(reading.severity)
        elif one.because is not None:
            assert 0 <= one.because[0] < one.because[1] <= len(complaint)


@pytest.mark.parametrize(
    ("signs", "context", "parts", "entry", "what"),
    [
        ([sign("a", MILD, "نزيف"), sign("a", MILD)], {}, {}, "a", "has the same name"),
        ([sign("fever", MILD, "نزيف")], {}, {"fever": {}}, "fever", "has the same name"),
        ([sign("past", MILD, "نزيف")], {}, {}, "past", "has the same name"),
        ([], {"negation": {}}, {}, "negation", "no such kind of cue"),
        ([sign("a", MILD, together=(("x", "y"),))], {}, {"y": {}}, "a", "no part is named 'x'"),
        ([sign("a", MILD, "نزيف ...")], {}, {}, "a", "has no word at its beginning or end"),
    ],
)
def test_entries_that_do_not_go_together_are_named(
    signs: list[Sign], context: Any, parts: Any, entry: str, what: str
) -> None:
    with pytest.raises(FormError, match=what) as caught:
        Lexicon(signs, context, parts)
    assert caught.value.name == entry


def test_the_digest_is_of_what_is_read() -> None:
    one = Lexicon([sign("a", MILD, "نزيف")], {}).digest
    assert one == Lexicon([sign("a", MILD, "نزيف")], {}).digest
    assert one != Lexicon([sign("a", CRITICAL, "نزيف")], {}).digest
    assert one != Lexicon([sign("a", MILD, "نزيف*")], {}).digest
    assert one != Lexicon([sign("a", MILD, "نزيف")], {"past": {"msa": ["سابقا"]}}).digest
