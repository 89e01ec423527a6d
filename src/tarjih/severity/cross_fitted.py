"""Annotators that learn from labels: cross-fitted, calibrated, and honest about their own rows.

The labelled rows are dealt into folds that keep near-duplicates together. A scorer is fitted for
each fold without it and gives the fold's logits; a calibrator, the one of three that is best on
rows it did not see, turns them into probabilities. Then one scorer and one calibrator are fitted on
all rows, for every complaint that is not among them; those that are, and their near-duplicates,
keep the held-out probabilities.

"Did not see" is said of the model that makes a row's probabilities. A calibrator is fitted on the
logits of the other folds, whose scorers were fitted on the row among thousands; nested folds would
undo that, at the price of as many fits again for each fold.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import sklearn
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tarjih import __version__
from tarjih.arabic.normalise import comparison_key
from tarjih.errors import DataError, SettingsError, WorkFailedError
from tarjih.files import atomic_file, atomic_folder, sha256_of
from tarjih.records import SEVERITIES, Severity
from tarjih.settings import make_settings
from tarjih.severity.annotator import (
    MANIFEST,
    NO_WORK,
    Annotator,
    AnnotatorSettings,
    ScoredComplaints,
    Work,
    check_annotator_folder,
    damaged,
    read_manifest,
    write_manifest,
)
from tarjih.severity.answered import responses_of, rows_of
from tarjih.severity.calibration import Floats, Integers
from tarjih.severity.calibrators import Calibrator, fit_calibrator, held_out_calibration
from tarjih.severity.folds import grouped_folds, near_duplicate_groups
from tarjih.severity.measures import SeverityMeasures, measure, severity_indices
from tarjih.severity.out_of_fold import OutOfFold, fingerprint_digest, hash_keys

CALIBRATION = "calibration.safetensors"
LOGITS = "logits.safetensors"


class CrossFittedSettings(AnnotatorSettings):
    """How the labelled rows are dealt into folds."""

    folds: int = Field(5, ge=2, description="folds that calibrate and score the labelled rows")
    near_duplicate_similarity: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Jaccard similarity of 6-character shingles from which complaints stay in "
        "one fold, and get each other's held-out probabilities",
    )
    seed: int = Field(0, ge=0, description="of the shuffle into folds")


SettingsT = TypeVar("SettingsT", bound=CrossFittedSettings)
Part = tuple[Integers, Integers]  # rows to fit on, rows held out


class Scorer(Protocol):
    """What one fit gives: logits of complaints, and the files that keep it."""

    def logits(self, complaints: Sequence[str]) -> Floats:
        """(n, 3) finite numbers, in the order of `records.SEVERITIES`, of any n texts."""

    def write(self, folder: Path) -> None:
        """Write its files into a folder."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossFit:
    """What cross-fitting found out about its own rows, and the calibrator for all others."""

    calibrator: Calibrator
    held_out: OutOfFold
    measures: SeverityMeasures | None


class CrossFittedAnnotator(Annotator[SettingsT]):
    """The base of annotators that learn from labels. A kind says how to fit and read a scorer."""

    kind: ClassVar[str]
    settings_class: ClassVar[type[AnnotatorSettings]]

    def __init__(
        self, *, settings: SettingsT, scorer: Scorer, fit: CrossFit, signature: dict[str, Any]
    ) -> None:
        """Put the parts together; see `fit` and `load`."""
        self.settings = settings
        self.scorer = scorer
        self._fit = fit
        self._signature = signature

    @classmethod
    @abstractmethod
    def fit_scorer(
        cls, complaints: Sequence[str], classes: Integers, settings: SettingsT, work: Work
    ) -> Scorer:
        """Fit on complaints with labels, (n,) indices into `records.SEVERITIES`.

        `work.folder` is this fit's alone: a long fit keeps checkpoints there and goes on from them.

        Raises:
            DataError: when nothing can be learnt from them.
        """

    @classmethod
    @abstractmethod
    def read_scorer(cls, folder: Path, settings: SettingsT) -> Scorer:
        """Read what `Scorer.write` wrote.

        Raises:
            ValueError, KeyError, TypeError, IndexError, SafetensorError: when it is damaged.
        """

    @classmethod
    def scorer_signature(cls) -> dict[str, Any]:
        """What scores depend on beside settings and rows, such as the version of a library."""
        return {}

    @classmethod
    def fit(
        cls,
        complaints: Sequence[str],
        labels: Sequence[Severity],
        settings: SettingsT,
        work: Work = NO_WORK,
    ) -> Self:
        """Cross-fit, calibrate, then fit on all rows; deterministic by `settings.seed`.

        Raises:
            DataError: when a severity is missing, there are fewer rows than folds, a response is
                missing that is learnt from, or nothing can be learnt from the rows.
            WorkFailedError: when a fit goes astray.
        """
        keys = [comparison_key(complaint) for complaint in complaints]
        groups = near_duplicate_groups(keys, settings.near_duplicate_similarity)
        parts = grouped_folds(labels, groups, folds=settings.folds, seed=settings.seed)
        classes = severity_indices(labels)
        plan = cls.plan(complaints, labels, settings)
        logits, scorer = cls.cross_fit(complaints, classes, parts, settings, work.of_plan(plan))
        kind, probabilities = held_out_calibration(logits, classes, parts)
        return cls(
            settings=settings,
            scorer=scorer,
            fit=CrossFit(
                calibrator=fit_calibrator(kind, logits, classes),
                held_out=OutOfFold.of(keys, probabilities, settings.near_duplicate_similarity),
                measures=measure(probabilities, labels, out_of_fold_rows=len(labels)),
            ),
            signature={**plan, "calibrator": kind},
        )

    @classmethod
    def cross_fit(
        cls,
        complaints: Sequence[str],
        classes: Integers,
        parts: Sequence[Part],
        settings: SettingsT,
        work: Work,
    ) -> tuple[Floats, Scorer]:
        """Held-out logits (n, 3), each from a scorer that did not see the row, and one of all rows.

        Args:
            complaints: n texts.
            classes: (n,) their labels.
            parts: (rows to fit on, rows held out) of each fold.
            settings: of this kind.
            work: finished folds are kept in its folder, and not fitted again.
        """
        logits = np.zeros((len(classes), len(SEVERITIES)))
        with work.reporter.stage(f"fitting {cls.kind}", len(parts) + 1) as advance:
            for number, part in enumerate(parts, start=1):
                logits[part[1]] = cls._held_out_logits(
                    complaints, classes, settings, part, work.part(f"fold-{number}")
                )
                advance(1)
            scorer = cls.fit_scorer(complaints, classes, settings, work.part("all"))
            advance(1)
        return logits, scorer

    @classmethod
    def _held_out_logits(
        cls,
        complaints: Sequence[str],
        classes: Integers,
        settings: SettingsT,
        part: Part,
        work: Work,
    ) -> Floats:
        """Logits of a fold's held-out rows; a fold that an earlier start finished is read."""
        fitted, held_out = part
        kept = None if work.folder is None else work.folder / LOGITS
        if kept is not None and kept.is_file():
            try:
                return _read_logits(kept, len(held_out))
            except (SafetensorError, KeyError, ValueError) as error:
                work.reporter.warn(f"{kept} is damaged ({error}); its fold is fitted again")
        scorer = cls.fit_scorer(rows_of(complaints, fitted), classes[fitted], settings, work)
        logits = scorer.logits(rows_of(complaints, held_out)).astype(np.float64)
        if not np.isfinite(logits).all():
            raise WorkFailedError(
                f"the {cls.kind} annotator's fit went astray: its logits are not finite numbers; "
                "change its settings (a learning rate that is too high does this)"
            )
        if kept is not None:
            with atomic_file(kept) as temporary:
                save_file({"logits": logits}, temporary)
            for path in kept.parent.iterdir():
                if path != kept and path.is_file():
                    path.unlink()  # checkpoints: an encoder's weights, which nothing reads again
        return logits

    @classmethod
    def plan(
        cls, complaints: Sequence[str], labels: Sequence[Severity], settings: SettingsT
    ) -> dict[str, Any]:
        """Everything that decides what is fitted, as JSON; the signature holds it."""
        responses = {}
        if settings.learns_from_responses:
            responses["responses_sha256"] = sha256_of(hash_keys(responses_of(complaints)).tolist())
        return {
            "annotator": cls.kind,
            "tarjih": __version__,
            "scikit_learn": sklearn.__version__,  # folds and calibrators
            **cls.scorer_signature(),
            "settings": settings.model_dump(mode="json"),
            **_how_complaints_are_known(),
            "rows": len(labels),
            "rows_by_severity": {str(s): sum(label == s for label in labels) for s in SEVERITIES},
            "rows_sha256": sha256_of([hash_keys(complaints).tolist(), list(labels)]),
            **responses,
        }

    @classmethod
    def unfitted(cls, settings: SettingsT, scorer: Scorer) -> Self:
        """An annotator that has seen no label; its scorer's logits are taken as they are."""
        as_it_is = Calibrator("temperature", np.ones((1, len(SEVERITIES))))
        nothing = OutOfFold.of(
            [], np.zeros((0, len(SEVERITIES))), settings.near_duplicate_similarity
        )
        return cls(
            settings=settings,
            scorer=scorer,
            fit=CrossFit(as_it_is, nothing, None),
            signature={**cls.plan([], [], settings), "calibrator": as_it_is.kind},
        )

    def score(self, complaints: Sequence[str], *, out_of_fold: bool = True) -> ScoredComplaints:
        """See `Annotator.score`.

        A near-duplicate of fitted complaints gets the held-out probabilities of the most similar
        one: the final scorer has seen its label. That is so whatever the response is.
        """
        if not complaints:
            return ScoredComplaints(np.zeros((0, len(SEVERITIES))), ())
        if self.reads_responses:
            responses_of(complaints)
        if not out_of_fold:
            return ScoredComplaints(self._fresh(complaints), (False,) * len(complaints))
        known, held_out = self._fit.held_out.find([comparison_key(text) for text in complaints])
        probabilities = np.zeros((len(complaints), len(SEVERITIES)))
        probabilities[known] = held_out
        unknown = np.flatnonzero(~known)
        if len(unknown):
            probabilities[unknown] = self._fresh(rows_of(complaints, unknown))
        return ScoredComplaints(probabilities, tuple(bool(row) for row in known))

    @property
    def reads_responses(self) -> bool:
        """See `Annotator.reads_responses`."""
        return self.settings.reads_responses

    def _fresh(self, complaints: Sequence[str]) -> Floats:
        return self._fit.calibrator.apply(self.scorer.logits(complaints))

    def signature(self) -> dict[str, Any]:
        """See `Annotator.signature`."""
        return dict(self._signature)

    @property
    def calibrator(self) -> Calibrator:
        """What turns the scorer's logits into probabilities."""
        return self._fit.calibrator

    @property
    def measures(self) -> SeverityMeasures | None:
        """Out-of-fold agreement with the labels it was fitted on."""
        return self._fit.measures

    def save(self, folder: Path) -> None:
        """Write `annotator.json`, `calibration.safetensors` and the scorer's files, atomically.

        Raises:
            FolderError: when the folder holds something other than an annotator.
        """
        check_annotator_folder(folder)
        tensors = self._fit.held_out.tensors()
        tensors[self.calibrator.kind] = self.calibrator.parameters
        with atomic_folder(folder) as temporary:
            save_file(tensors, temporary / CALIBRATION)
            self.scorer.write(temporary)
            write_manifest(
                temporary,
                settings=self.settings,
                signature=self._signature,
                measures=self._fit.measures,
            )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; it scores bit for bit as before.

        Raises:
            ModelError: when the folder is not an annotator of this kind, or is damaged.
        """
        manifest = read_manifest(folder, cls.kind)
        if CALIBRATION not in manifest.files:
            raise damaged(folder / MANIFEST, f"it does not list {CALIBRATION}")
        for name, value in _how_complaints_are_known().items():
            if manifest.signature.get(name) != value:
                # Else no complaint would be known, and in-sample scores pass for held-out ones.
                what = f"it was fitted with another way to know complaints again ({name})"
                raise damaged(folder / MANIFEST, what)
        try:
            settings: SettingsT = make_settings(  # type: ignore[assignment]
                cls.settings_class, manifest.settings, folder / MANIFEST
            )
            tensors = load_file(folder / CALIBRATION)
            held_out = OutOfFold.from_tensors(tensors, settings.near_duplicate_similarity)
            (kind,) = tensors.keys() - held_out.tensors().keys()
            return cls(
                settings=settings,
                scorer=cls.read_scorer(folder, settings),
                fit=CrossFit(Calibrator.of(kind, tensors[kind]), held_out, manifest.measures),
                signature=manifest.signature,
            )
        except (SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
            raise damaged(folder, str(error)) from None
        except (DataError, SettingsError) as error:
            raise damaged(folder, error.what) from None


def _read_logits(file: Path, rows: int) -> Floats:
    logits: Floats = load_file(file)["logits"]
    if logits.dtype != np.float64 or logits.shape != (rows, len(SEVERITIES)):
        raise ValueError(f"logits {logits.dtype} {logits.shape} of {rows} rows")
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not a finite number")
    return logits


def _how_complaints_are_known() -> dict[str, str]:
    return {"folding_sha256": folding_digest(), "fingerprints_sha256": fingerprint_digest()}


def folding_digest() -> str:
    """What `comparison_key` makes of ASCII and of the Arabic block, one character at a time."""
    points = (*range(0x20, 0x7F), *range(0x0600, 0x0700))
    return sha256_of([comparison_key(f"x{chr(point)}x") for point in points])
