from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Consultation, Severity
from tarjih.severity.lexicon.reading import bundled_lexicon
from tarjih.severity.review import (
    ComplaintToReview,
    Decision,
    Reason,
    complaint_print,
    complaints_to_review,
    confident_from,
    in_order,
    labels_by_reviewer,
    majority,
)

MILD, NEUTRAL, CRITICAL = SEVERITIES
RED_FLAG = "عندي نزيف شديد لا يتوقف"
PLAIN = "أريد نصيحة عامة رقم"


def row(id_: str, complaint: str, label: Severity | None) -> Consultation:
    return Consultation(id=id_, complaint=complaint, response="", labelled_severity=label)


def review(
    *rows: tuple[Consultation, tuple[float, float, float]], count: int = 100
) -> list[ComplaintToReview]:
    return complaints_to_review([one for one, _ in rows], np.array([p for _, p in rows]), count)


def reasons(found: list[ComplaintToReview]) -> dict[str, Reason]:
    return {one.id: one.reason for one in found}


# What makes 0.7 a confident probability of each severity: its mean where people chose it.
ANCHORS = [
    (row(f"anchor-{label}", f"{PLAIN} {label}", label), p)
    for label, p in (
        (MILD, (0.7, 0.2, 0.1)),
        (NEUTRAL, (0.1, 0.7, 0.2)),
        (CRITICAL, (0.1, 0.2, 0.7)),
    )
]


def test_the_lexicon_knows_the_red_flag_of_these_tests() -> None:
    assert bundled_lexicon().read(RED_FLAG).severity is CRITICAL
    assert bundled_lexicon().read(PLAIN).severity is not CRITICAL


def test_a_confident_probability_is_the_mean_of_those_labelled_so() -> None:
    rows = [row("1", "a", MILD), row("2", "b", MILD), row("3", "c", NEUTRAL), row("4", "d", None)]
    p = np.array([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.0, 0.0, 1.0]])
    assert confident_from(rows, p).tolist() == pytest.approx([0.7, 0.6, np.inf])


@pytest.mark.parametrize(
    ("complaint", "label", "p", "reason"),
    [
        (PLAIN, MILD, (0.05, 0.15, 0.8), Reason.DISAGREEMENT),
        (PLAIN, MILD, (0.2, 0.2, 0.6), None),  # the others are surer of what is critical
        (PLAIN, CRITICAL, (0.05, 0.15, 0.8), None),
        (PLAIN, None, (0.05, 0.15, 0.8), None),
        (RED_FLAG, NEUTRAL, (0.3, 0.6, 0.1), Reason.RED_FLAG),
        (RED_FLAG, None, (0.3, 0.6, 0.1), Reason.RED_FLAG),
        (RED_FLAG, CRITICAL, (0.3, 0.6, 0.1), None),  # somebody has seen it
        (RED_FLAG, MILD, (0.3, 0.1, 0.6), None),  # the annotator has
        (RED_FLAG, MILD, (0.1, 0.8, 0.1), Reason.RED_FLAG),  # before the disagreement
        (PLAIN, MILD, (0.40, 0.36, 0.24), Reason.BOUNDARY),
        (PLAIN, MILD, (0.40, 0.34, 0.26), None),
    ],
)
def test_why_a_complaint_is_chosen(
    complaint: str,
    label: Severity | None,
    p: tuple[float, float, float],
    reason: Reason | None,
) -> None:
    found = review(*ANCHORS, (row("asked", complaint, label), p))
    assert reasons(found) == ({} if reason is None else {"asked": reason})


def test_rows_of_one_complaint_are_reviewed_once() -> None:
    p = (0.8, 0.1, 0.1)
    found = review(
        *ANCHORS,
        (row("1", f"{PLAIN}، سؤال", CRITICAL), p),
        (row("2", f"{PLAIN} سـؤال!", MILD), p),
        (row("3", f"{PLAIN} سؤال", CRITICAL), p),
    )
    assert reasons(found) == {"1": Reason.CONFLICT}
    assert found[0].labels == (MILD, CRITICAL)
    assert found[0].words == ""


def test_the_words_of_a_red_flag_are_told() -> None:
    (found,) = review(*ANCHORS, (row("1", RED_FLAG, MILD), (0.8, 0.1, 0.1)))
    assert found.words
    assert all(word in RED_FLAG for word in found.words.split(", "))
    assert found.probabilities.as_tuple() == (0.8, 0.1, 0.1)


def test_the_most_urgent_of_each_reason_come_in_turn() -> None:
    unsure = [
        (row(f"b{n}", f"{PLAIN} b{n}", None), (0.4 + n / 200, 0.4 - n / 200, 0.2)) for n in range(5)
    ]
    flags = [
        (row(f"f{n}", f"{RED_FLAG} f{n}", None), (0.9 - n / 10, 0.0, 0.1 + n / 10))
        for n in range(3)
    ]
    rows = [*unsure[::-1], *flags[::-1], *ANCHORS]
    assert list(reasons(review(*rows))) == ["f0", "b0", "f1", "b1", "f2", "b2", "b3", "b4"]
    assert list(reasons(review(*rows, count=3))) == ["f0", "b0", "f1"]


def test_a_complaint_is_found_by_what_it_says() -> None:
    assert complaint_print("عندي صداع") == complaint_print("  عِندي   صُداع! ")
    assert complaint_print("عندي صداع") != complaint_print("عندي صداع شديد")
    assert complaint_print("!!!") != complaint_print("???")
    long = "صداع " * 10_000
    assert complaint_print(long) == complaint_print(long[:32_767])
    assert in_order([CRITICAL, None, MILD, CRITICAL]) == (MILD, CRITICAL)


DECISION = Decision(
    "7", "print", (MILD,), CRITICAL, "Huda", "", "a.xlsx", 4, "2026-01-01T00:00:00Z"
)


def given(*labels: Severity) -> dict[str, Decision]:
    return {str(n): replace(DECISION, after=label) for n, label in enumerate(labels)}


@pytest.mark.parametrize(
    ("labels", "decided"),
    [
        ([MILD], MILD),
        ([MILD, CRITICAL], None),
        ([MILD, CRITICAL, CRITICAL], CRITICAL),
        ([MILD, NEUTRAL, CRITICAL], None),
        ([MILD, MILD, CRITICAL, CRITICAL, NEUTRAL], None),
    ],
)
def test_the_majority_decides(labels: list[Severity], decided: Severity | None) -> None:
    assert majority(given(*labels)) is decided


def test_a_reviewer_has_one_label_for_a_complaint() -> None:
    again = replace(DECISION, sheet="b.xlsx", row=9)
    other = replace(DECISION, reviewer="Omar", after=MILD)
    found = labels_by_reviewer([DECISION, again, other])
    assert found == {"print": {"Huda": DECISION, "Omar": other}}
    spelled = replace(again, reviewer="hu da.")
    assert labels_by_reviewer([DECISION, spelled]) == {"print": {"Huda": DECISION}}
    with pytest.raises(DataError, match=r"b\.xlsx, row 9, .*'Huda' calls .* row 4 of a\.xlsx"):
        labels_by_reviewer([DECISION, replace(again, after=MILD)])
