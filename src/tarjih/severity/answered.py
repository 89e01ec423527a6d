"""Complaints that come with the doctor's response, for annotators that learn from it or read it.

A row is what its complaint is: folds, near-duplicates, held-out probabilities and hashes of rows go
by complaints alone, whatever the doctor wrote. So `AnsweredComplaints` is a sequence of complaints
to all who know nothing of responses, and only those who ask for the responses get them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self, overload

from tarjih.errors import DataError
from tarjih.records import Consultation

_REMEDY = (
    "give pairs of complaint and response (--column response=NAME names the column), or take an "
    "annotator with responses=teach or responses=ignored, which reads complaints alone"
)


class AnsweredComplaints(Sequence[str]):
    """n complaints, which know their responses; made of lists it goes by the complaints.

    Args:
        complaints: n texts.
        responses: the doctor's n responses; empty where there is none.

    Raises:
        ValueError: when they are not equally many.
    """

    def __init__(self, complaints: Sequence[str], responses: Sequence[str]) -> None:
        if len(complaints) != len(responses):
            raise ValueError(f"{len(complaints)} complaints, {len(responses)} responses")
        self.complaints = tuple(complaints)
        self.responses = tuple(responses)

    @classmethod
    def of(cls, consultations: Sequence[Consultation]) -> Self:
        """The complaints and responses of consultations."""
        return cls([c.complaint for c in consultations], [c.response for c in consultations])

    def __len__(self) -> int:
        """How many complaints there are."""
        return len(self.complaints)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> AnsweredComplaints: ...
    def __getitem__(self, place: int | slice) -> str | AnsweredComplaints:
        """A complaint, or some with their responses."""
        if isinstance(place, slice):
            return AnsweredComplaints(self.complaints[place], self.responses[place])
        return self.complaints[place]


def rows_of(complaints: Sequence[str], rows: Iterable[int]) -> Sequence[str]:
    """Some of the complaints, with their responses where there are any."""
    places = [int(row) for row in rows]
    chosen = [complaints[place] for place in places]
    if isinstance(complaints, AnsweredComplaints):
        return AnsweredComplaints(chosen, [complaints.responses[place] for place in places])
    return chosen


def responses_of(complaints: Sequence[str]) -> tuple[str, ...]:
    """The responses of complaints that an annotator cannot do without.

    Raises:
        DataError: naming the first row that has none.
    """
    if not isinstance(complaints, AnsweredComplaints):
        raise DataError("the annotator needs the doctors' responses", remedy=_REMEDY)
    for number, response in enumerate(complaints.responses, start=1):
        if not response.strip():
            raise DataError(
                "the complaint has no response, and the annotator needs it",
                row=number,
                remedy=_REMEDY,
            )
    return complaints.responses


def told_apart(complaints: Sequence[str]) -> Sequence[str]:
    """A text for each complaint: equal where all is equal that an annotator is given of them."""
    if not isinstance(complaints, AnsweredComplaints):
        return complaints
    # The length says where the complaint ends, so that no two pairs are joined to one text.
    both = zip(complaints.complaints, complaints.responses, strict=True)
    return [f"{len(complaint)} {complaint}{response}" for complaint, response in both]
