"""An annotator that learns nothing and takes no time: its skill is a setting."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field

from tarjih.records import SEVERITIES, Consultation
from tarjih.severity import annotator as registry
from tarjih.severity.annotator import AnnotatorSettings, Work
from tarjih.severity.calibration import Floats, Integers
from tarjih.severity.cross_fitted import CrossFittedAnnotator, CrossFittedSettings

KINDS = ("good", "poor")
_SKILL = {"good": 2.0, "poor": 0.3}


class FakeSettings(CrossFittedSettings):
    kind: Literal["good", "poor"] = Field("good", description="how much it knows")
    skill: float = Field(1.0, description="times the logit of the label")


class PoorSettings(FakeSettings):
    kind: Literal["good", "poor"] = Field("poor", description="how much it knows")


class FakeScorer:
    """Reads the label, which ends every complaint of `fake_consultations`, through noise."""

    def __init__(self, skill: float) -> None:
        self.skill = skill

    def logits(self, complaints: Sequence[str]) -> Floats:
        rows = []
        for complaint in complaints:
            noise = np.random.default_rng(zlib.crc32(complaint.encode())).normal(size=3)
            rows.append(noise + self.skill * np.eye(3)[int(complaint[-1])])
        return np.array(rows).reshape(-1, 3)

    def write(self, folder: Path) -> None:
        raise NotImplementedError


class FakeAnnotator(CrossFittedAnnotator[FakeSettings]):
    kind: ClassVar[str] = "good"
    settings_class: ClassVar[type[AnnotatorSettings]] = FakeSettings
    fits: ClassVar[list[str]] = []

    @classmethod
    def fit_scorer(
        cls, complaints: Sequence[str], classes: Integers, settings: FakeSettings, work: Work
    ) -> FakeScorer:
        cls.fits.append(cls.kind)
        return FakeScorer(_SKILL[cls.kind] * settings.skill)

    @classmethod
    def read_scorer(cls, folder: Path, settings: FakeSettings) -> FakeScorer:
        raise NotImplementedError


class PoorAnnotator(FakeAnnotator):
    kind: ClassVar[str] = "poor"
    settings_class: ClassVar[type[AnnotatorSettings]] = PoorSettings


def register_fakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let `good` and `poor` be the only kinds; give the list of their fits, in order."""
    for kind in list(registry.ANNOTATOR_CLASSES):
        monkeypatch.delitem(registry.ANNOTATOR_CLASSES, kind)
    for kind, name in zip(KINDS, ("FakeAnnotator", "PoorAnnotator"), strict=True):
        monkeypatch.setitem(registry.ANNOTATOR_CLASSES, kind, (__name__, name))
    fits: list[str] = []
    monkeypatch.setattr(FakeAnnotator, "fits", fits)
    return fits


def fake_consultations(rows: int = 120, *, twins: int = 0, seed: int = 0) -> list[Consultation]:
    """Random letters and the label's number; the first `twins` complaints occur twice."""
    draw = random.Random(seed)
    made = []
    for index in range(rows):
        label = draw.randrange(3)
        words = " ".join("".join(draw.choices("bcdfghklmnprstvz", k=7)) for _ in range(6))
        made.append(
            Consultation(str(index), f"{words} {label}", "r", labelled_severity=SEVERITIES[label])
        )
    return made + [
        Consultation(f"twin-{one.id}", one.complaint, "r", labelled_severity=one.labelled_severity)
        for one in made[:twins]
    ]


def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing into the folder and page of a comparison: plots take most of the time."""
    module = "tarjih.report.comparison"
    monkeypatch.setattr(f"{module}.save_figure", lambda figure, out: out.write_bytes(b""))
    monkeypatch.setattr(f"{module}.inline_svg", lambda figure, title: "")
