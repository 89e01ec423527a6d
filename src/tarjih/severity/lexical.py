"""The lexicon as an annotator: with nothing to learn from, or with its table learnt from labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file

from tarjih.records import SEVERITIES
from tarjih.severity.annotator import AnnotatorSettings, Work
from tarjih.severity.calibration import Floats, Integers
from tarjih.severity.cross_fitted import CrossFittedAnnotator, CrossFittedSettings
from tarjih.severity.lexicon.reading import bundled_lexicon

TABLE = "table.safetensors"
# What a reading comes to: nothing that counts, or one of the three severities.
OUTCOMES = (None, *SEVERITIES)
# Assumed before any label is seen. A lexicon is surer of what it finds than of what it does not;
# a complaint without any sign is more often trivial than urgent.
ASSUMED = np.array(
    [
        [0.45, 0.35, 0.20],
        [0.70, 0.22, 0.08],
        [0.25, 0.55, 0.20],
        [0.05, 0.20, 0.75],
    ]
)


class LexiconSettings(CrossFittedSettings):
    """Settings of the lexicon annotator."""

    kind: Literal["lexicon"] = Field("lexicon", description="which annotator reads the complaints")
    assumed_rows: float = Field(
        30.0,
        gt=0,
        description="labelled rows that the assumed probabilities of a finding weigh as much as",
    )


class LexiconScorer:
    """logits = log table[outcome]; `table` is (4, 3), rows in the order of `OUTCOMES`.

    Raises:
        ValueError: when it has another shape or type, or its rows are no probabilities above 0.
    """

    def __init__(self, table: Floats) -> None:
        if table.shape != ASSUMED.shape or table.dtype != np.float64:
            raise ValueError(f"the table is {table.dtype} {table.shape}, not float64 (4, 3)")
        if not ((table > 0).all() and np.allclose(table.sum(axis=1), 1)):
            raise ValueError("the rows of the table are no probabilities")
        self.table = table

    def logits(self, complaints: Sequence[str]) -> Floats:
        """See `Scorer.logits`."""
        return np.log(self.table[outcomes(complaints)])

    def write(self, folder: Path) -> None:
        """Write `table.safetensors`."""
        save_file({"table": self.table}, folder / TABLE)


class LexiconAnnotator(CrossFittedAnnotator[LexiconSettings]):
    """Probabilities of the severity that the lexicon finds in a complaint."""

    kind: ClassVar[str] = "lexicon"
    settings_class: ClassVar[type[AnnotatorSettings]] = LexiconSettings

    @classmethod
    def without_labels(cls) -> Self:
        """The annotator as it is before any label: with the assumed probabilities."""
        return cls.unfitted(LexiconSettings(), LexiconScorer(ASSUMED))

    @classmethod
    def fit_scorer(
        cls, complaints: Sequence[str], classes: Integers, settings: LexiconSettings, work: Work
    ) -> LexiconScorer:
        """Count how often each finding had each label, beside what is assumed."""
        del work
        counts = np.zeros(ASSUMED.shape)
        np.add.at(counts, (outcomes(complaints), classes), 1)
        table = counts + settings.assumed_rows * ASSUMED
        return LexiconScorer(table / table.sum(axis=1, keepdims=True))

    @classmethod
    def read_scorer(cls, folder: Path, settings: LexiconSettings) -> LexiconScorer:
        """See `CrossFittedAnnotator.read_scorer`."""
        del settings
        return LexiconScorer(load_file(folder / TABLE)["table"])

    @classmethod
    def scorer_signature(cls) -> dict[str, Any]:
        """A hash of all signs and cues."""
        return {"lexicon_sha256": bundled_lexicon().digest}


def outcomes(complaints: Sequence[str]) -> Integers:
    """What the lexicon finds in each complaint, (n,) indices into `OUTCOMES`."""
    lexicon = bundled_lexicon()
    found = [OUTCOMES.index(lexicon.read(text).severity) for text in complaints]
    return np.asarray(found, dtype=np.int64)
