from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tarjih.progress import Advance, Reporter
from tarjih.records import SEVERITIES, Consultation, Severity
from tarjih.severity.linear import LinearAnnotator, LinearSettings

# Plain words of our own: what each severity tends to mention, and what all of them do.
TYPICAL_WORDS = """
حبوب بشرة شعر جفاف تقشر نصيحة فيتامين كريم تساقط قشرة
صداع سعال حرارة زكام معدة حموضة إسهال التهاب دوخة حساسية
نزيف اختناق إغماء جلطة تشنج غيبوبة صدر شلل تسمم طوارئ
"""
COMMON_WORDS = "عندي منذ يومين طفلي والدتي أشعر بشكل مستمر دكتور أرجو الرد علاج سبب أيام كثير"
TYPICAL = dict(zip(SEVERITIES, map(str.split, TYPICAL_WORDS.strip().splitlines()), strict=True))
COMMON = COMMON_WORDS.split()


def make_labelled(rows: int, seed: int = 0) -> list[Consultation]:
    """Complaints of 7 to 9 words, two of them typical of the label in three rows of four."""
    draw = random.Random(seed)
    consultations = []
    for index in range(rows):
        label = SEVERITIES[index % 3]
        source = label if draw.random() < 0.75 else draw.choice(SEVERITIES)
        chosen = draw.sample(TYPICAL[source], 2) + draw.sample(COMMON, draw.randint(5, 7))
        draw.shuffle(chosen)
        consultations.append(
            Consultation(
                id=str(index), complaint=" ".join(chosen), response="", labelled_severity=label
            )
        )
    return consultations


@pytest.fixture(scope="session")
def labelled() -> list[Consultation]:
    return make_labelled(150)


@pytest.fixture(scope="session")
def complaints(labelled: list[Consultation]) -> list[str]:
    return [consultation.complaint for consultation in labelled]


@pytest.fixture(scope="session")
def labels(labelled: list[Consultation]) -> list[Severity]:
    return [c.labelled_severity for c in labelled if c.labelled_severity is not None]


@pytest.fixture(scope="session")
def annotator(complaints: list[str], labels: list[Severity]) -> LinearAnnotator:
    return LinearAnnotator.fit(complaints, labels, LinearSettings())


class Told(Reporter):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.stages: dict[str, tuple[int, int | None]] = {}  # units done, and announced

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        def advance(done: int) -> None:
            self.stages[name] = (self.stages[name][0] + done, total)

        self.stages[name] = (0, total)
        yield advance

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def told() -> Told:
    return Told()
