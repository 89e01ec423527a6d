"""Which complaints a person should look at again, and what comes of several people's decisions.

A label that confident probabilities contradict is often wrong (Northcutt et al., "Confident
Learning", 2021); probabilities for rows that an annotator was fitted on come out of fold, else they
would only repeat the label. The other reasons to look: a complaint that is there twice with two
labels, a red flag that was passed over, and a complaint that could as well be called otherwise.

A severity belongs to a complaint, not to a row: rows with the same complaint are reviewed once, and
decisions find their rows by the complaint's text, whatever the rows' order, ids or file name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import nsmallest
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np

from tarjih.arabic.normalise import clean_text, comparison_key
from tarjih.data.columns import fold_name
from tarjih.data.write import LONGEST_CELL
from tarjih.errors import DataError
from tarjih.records import SEVERITIES, Consultation, Severity, SeverityDistribution
from tarjih.severity.calibration import Floats, most_likely
from tarjih.severity.lexicon.reading import bundled_lexicon

Labels = tuple[Severity, ...]
_CLOSE = 0.05
_CRITICAL = SEVERITIES.index(Severity.CRITICAL)


class Reason(StrEnum):
    """Why a person should look; the first that holds is given."""

    CONFLICT = "conflict"
    RED_FLAG = "red_flag"
    DISAGREEMENT = "disagreement"
    BOUNDARY = "boundary"


@dataclass(frozen=True, slots=True)
class ComplaintToReview:
    """A complaint and why it should be looked at.

    Attributes:
        id: of the first row that holds it.
        complaint: what the patient wrote.
        labels: those that its rows have, from mild to severe; none where nobody labelled it.
        probabilities: of the three severities.
        reason: why to look.
        words: what the lexicon decided by, for a red flag.
    """

    id: str
    complaint: str
    labels: Labels
    probabilities: SeverityDistribution
    reason: Reason
    words: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reviewer said of one complaint.

    Attributes:
        id: as the sheet has it.
        complaint: see `complaint_print`.
        before: the labels that the sheet showed.
        after: the reviewer's label.
        reviewer: who it was.
        comment: what they wrote beside it.
        sheet: the file.
        row: of the sheet, counted from 1 after the header.
        date: when the sheet was last saved, ISO 8601 in UTC.
    """

    id: str
    complaint: str
    before: Labels
    after: Severity
    reviewer: str
    comment: str
    sheet: str
    row: int
    date: str


def complaint_print(complaint: str) -> str:
    """What a complaint is found by: equal for texts that fold to the same `comparison_key`.

    Only as much of the text counts as a spreadsheet cell holds.
    """
    text = clean_text(complaint)[:LONGEST_CELL]
    key = comparison_key(text) or text
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def in_order(labels: Sequence[Severity | None]) -> Labels:
    """The labels that occur, each once, from mild to severe."""
    return tuple(severity for severity in SEVERITIES if severity in labels)


def complaints_to_review(
    consultations: Sequence[Consultation], probabilities: Floats, count: int
) -> list[ComplaintToReview]:
    """The complaints most worth a look: in turn the most urgent of each reason.

    Args:
        consultations: n, labelled or not; rows with the same complaint count once.
        probabilities: (n, 3), out of fold where the annotator was fitted on a row.
        count: at most so many.
    """
    confident = confident_from(consultations, probabilities)
    found: dict[Reason, list[_Found]] = {reason: [] for reason in Reason}
    for rows in _rows_by_complaint(consultations).values():
        labels = in_order([consultations[row].labelled_severity for row in rows])
        one = _look(consultations[rows[0]], labels, probabilities[rows[0]], confident)
        if one is not None:
            found[one.complaint.reason].append(one)
    most_urgent = [nsmallest(count, ones, key=lambda one: -one.urgency) for ones in found.values()]
    in_turn = chain.from_iterable(zip_longest(*most_urgent))
    return [one.complaint for one in in_turn if one is not None][:count]


def confident_from(consultations: Sequence[Consultation], probabilities: Floats) -> Floats:
    """(3,) the probability from which each severity is claimed confidently.

    That is its mean over the rows labelled with it (Northcutt et al. 2021, equation 2); infinite
    for a severity that no row is labelled with.
    """
    labels = np.array([str(one.labelled_severity) for one in consultations])
    return np.array(
        [
            probabilities[labels == severity, place].mean() if severity in labels else np.inf
            for place, severity in enumerate(SEVERITIES)
        ]
    )


class _Found(NamedTuple):
    complaint: ComplaintToReview
    urgency: float


def _rows_by_complaint(consultations: Sequence[Consultation]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, consultation in enumerate(consultations):
        rows.setdefault(complaint_print(consultation.complaint), []).append(row)
    return rows


def _look(
    consultation: Consultation, labels: Labels, row: Floats, confident: Floats
) -> _Found | None:
    reading = bundled_lexicon().read(consultation.complaint)
    words = [consultation.complaint[one.start : one.end] for one in reading.deciding]
    called = int(most_likely(row[None])[0])
    for reason, urgency in _reasons(labels, row, called, confident, reading.severity):
        p = SeverityDistribution(*map(float, row))
        told = ", ".join(dict.fromkeys(words)) if reason is Reason.RED_FLAG else ""
        one = ComplaintToReview(
            consultation.id, consultation.complaint, labels, p, reason, words=told
        )
        return _Found(one, urgency)
    return None


def _reasons(
    labels: Labels, row: Floats, called: int, confident: Floats, by_lexicon: Severity | None
) -> Iterator[tuple[Reason, float]]:
    places = [SEVERITIES.index(label) for label in labels]
    if len(places) > 1:
        yield Reason.CONFLICT, float(max(places) - min(places))
    if by_lexicon is Severity.CRITICAL and _CRITICAL not in (called, *places):
        yield Reason.RED_FLAG, 1 - float(row[_CRITICAL])
    if places and called not in places and row[called] >= confident[called]:
        yield Reason.DISAGREEMENT, float(row[called] - row[places[0]])
    second, first = np.sort(row)[-2:]
    if first - second <= _CLOSE:
        yield Reason.BOUNDARY, 1 - float(first - second)


def labels_by_reviewer(decisions: Sequence[Decision]) -> dict[str, dict[str, Decision]]:
    """Complaint -> reviewer -> decision; the first spelling of a reviewer's name stands for all.

    Names are compared without case, blanks and punctuation: a slip of the pen is no second vote.

    Raises:
        DataError: when a reviewer gave a complaint two labels, naming both rows.
    """
    given: dict[str, dict[str, Decision]] = {}
    names: dict[str, str] = {}
    for decision in decisions:
        of_complaint = given.setdefault(decision.complaint, {})
        folded = fold_name(decision.reviewer) or decision.reviewer
        name = names.setdefault(folded, decision.reviewer)
        first = of_complaint.setdefault(name, decision)
        if first.after is not decision.after:
            raise DataError(
                f"{decision.reviewer!r} calls this complaint {decision.after}, but calls it "
                f"{first.after} in row {first.row} of {first.sheet}",
                file=decision.sheet,
                row=decision.row,
                column="new label",
                remedy="settle on one of the labels; where two people share a name, tell them "
                "apart in the column 'reviewer'",
            )
    return given


def majority(given: Mapping[str, Decision]) -> Severity | None:
    """The label that most reviewers of a complaint chose; None where no label has the most."""
    ranked = Counter(decision.after for decision in given.values()).most_common(2)
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        return None
    return ranked[0][0]
