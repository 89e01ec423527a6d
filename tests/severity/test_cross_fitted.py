"""Cross-fitting, seen through a scorer that remembers exactly which patients it was fitted on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field
from safetensors.numpy import load_file, save_file
from scipy.special import softmax as scipy_softmax

import tarjih.severity.cross_fitted as cross_fitted_module
from severity.conftest import Told
from tarjih.arabic.normalise import comparison_key
from tarjih.errors import ModelError, WorkFailedError
from tarjih.files import sha256_of_file, write_json
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.annotator import AnnotatorSettings, Work
from tarjih.severity.calibration import Floats, Integers
from tarjih.severity.calibrators import fit_calibrator
from tarjih.severity.cross_fitted import LOGITS, CrossFittedAnnotator, CrossFittedSettings
from tarjih.severity.folds import grouped_folds, near_duplicate_groups
from tarjih.severity.measures import measure, severity_indices

PATIENTS = 30
TOPICS = "fever cough rash pain cramps dizziness nausea fatigue swelling itching bleeding burns"


class MemorySettings(CrossFittedSettings):
    kind: Literal["memory"] = Field("memory", description="which annotator reads the complaints")
    sureness: float = Field(4.0, description="logit of a label that is remembered")


class MemoryScorer:
    """Gives the label of every patient that it was fitted on, and knows nothing of others."""

    def __init__(self, labels: dict[str, int], sureness: float) -> None:
        self.labels = labels
        self.sureness = sureness

    def logits(self, complaints: Sequence[str]) -> Floats:
        rows = np.zeros((len(complaints), 3))
        for row, text in enumerate(complaints):
            if patient_of(text) in self.labels:
                rows[row, self.labels[patient_of(text)]] = self.sureness
        return rows

    def write(self, folder: Path) -> None:
        write_json(folder / "memory.json", self.labels)


class MemoryAnnotator(CrossFittedAnnotator[MemorySettings]):
    kind: ClassVar[str] = "memory"
    settings_class: ClassVar[type[AnnotatorSettings]] = MemorySettings
    fits: ClassVar[list[tuple[int, str]]] = []
    ends_at: ClassVar[int | None] = None  # the number of the fit that is interrupted

    @classmethod
    def fit_scorer(
        cls, complaints: Sequence[str], classes: Integers, settings: MemorySettings, work: Work
    ) -> MemoryScorer:
        cls.fits.append((len(complaints), "" if work.folder is None else work.folder.name))
        if len(cls.fits) == cls.ends_at:
            raise KeyboardInterrupt
        labels = {
            patient_of(text): int(label) for text, label in zip(complaints, classes, strict=True)
        }
        return MemoryScorer(labels, settings.sureness)

    @classmethod
    def read_scorer(cls, folder: Path, settings: MemorySettings) -> MemoryScorer:
        labels = json.loads((folder / "memory.json").read_text(encoding="utf-8"))
        return MemoryScorer(labels, settings.sureness)


@pytest.fixture(autouse=True)
def _forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryAnnotator, "fits", [])
    monkeypatch.setattr(MemoryAnnotator, "ends_at", None)


def patient_of(text: str) -> str:
    return comparison_key(text).split()[0]


def complaint_of(patient: int) -> str:
    """Nine words, of which no two patients share enough to be near-duplicates."""
    topics = TOPICS.split()
    chosen = [f"{topics[(patient * 5 + step * 7) % 12]}{patient}{step}" for step in range(8)]
    return f"patient{patient} {' '.join(chosen)}"


COMPLAINTS = [complaint_of(patient) for patient in range(PATIENTS)]
LABELS = [SEVERITIES[patient % 3] for patient in range(PATIENTS)]


def near(complaint: str) -> str:
    """A near-duplicate with another comparison key: one word more, near the end."""
    first, last = complaint.rsplit(" ", 1)
    return f"{first} {last} too"


def test_no_row_or_near_duplicate_is_scored_by_what_saw_its_label() -> None:
    complaints = [*COMPLAINTS, *map(near, COMPLAINTS)]
    fitted = MemoryAnnotator.fit(complaints, [*LABELS, *LABELS], MemorySettings())
    scored = fitted.score(complaints)
    assert scored.out_of_fold == (True,) * len(complaints)
    # A scorer that saw the patient would be sure; one that did not gives the same to all three.
    np.testing.assert_allclose(scored.probabilities, 1 / 3, rtol=1e-12)
    assert fitted.measures == measure(
        np.full((60, 3), 1 / 3), [*LABELS, *LABELS], out_of_fold_rows=60
    )
    in_sample = fitted.score(complaints, out_of_fold=False)
    assert in_sample.out_of_fold_rows == 0
    assert measure(in_sample.probabilities, [*LABELS, *LABELS]).accuracy == 1.0


def test_near_duplicates_of_fitted_rows_are_not_scored_by_what_saw_their_twin(
    tmp_path: Path,
) -> None:
    fitted = MemoryAnnotator.fit(COMPLAINTS, LABELS, MemorySettings())
    asked = [*map(near, COMPLAINTS), complaint_of(99)]
    fitted.save(tmp_path / "annotator")
    for one in (fitted, MemoryAnnotator.load(tmp_path / "annotator")):
        scored = one.score(asked)
        assert scored.out_of_fold == (True,) * PATIENTS + (False,)
        np.testing.assert_allclose(scored.probabilities, 1 / 3, rtol=1e-12)
    leaking = fitted.score(asked, out_of_fold=False).probabilities[:PATIENTS]
    assert measure(leaking, LABELS).accuracy == 1.0


def test_a_similarity_of_one_leaves_near_duplicates_to_the_final_scorer() -> None:
    strict = MemorySettings(near_duplicate_similarity=1.0)
    # Other words first, so that not even the beginnings are equal.
    asked = [text.replace(" ", f" new{row} ", 1) for row, text in enumerate(COMPLAINTS)]
    assert MemoryAnnotator.fit(COMPLAINTS, LABELS, strict).score(asked).out_of_fold_rows == 0
    usual = MemoryAnnotator.fit(COMPLAINTS, LABELS, MemorySettings())
    assert usual.score(asked).out_of_fold_rows == PATIENTS


def test_the_final_calibrator_is_fitted_on_held_out_logits() -> None:
    # Two rows a patient in different folds would make the scorer right; so some memory helps.
    complaints, labels = half_known()
    fitted = MemoryAnnotator.fit(complaints, labels, MemorySettings())
    keys = [comparison_key(text) for text in complaints]
    classes = severity_indices(labels)
    groups = near_duplicate_groups(keys, 0.7)
    logits = np.zeros((len(keys), 3))
    parts = grouped_folds(labels, groups, folds=5, seed=0)
    for rows, held_out in parts:
        known = {patient_of(complaints[row]): classes[row] for row in rows}
        for row in held_out:
            if patient_of(complaints[row]) in known:
                logits[row, known[patient_of(complaints[row])]] = 4.0
    assert 0 < (logits != 0).any(axis=1).sum() < len(keys)
    oracle = fit_calibrator(fitted.calibrator.kind, logits, classes)
    np.testing.assert_allclose(fitted.calibrator.parameters, oracle.parameters, rtol=1e-9)
    expected = np.zeros_like(logits)
    for rows, held_out in parts:
        one = fit_calibrator(fitted.calibrator.kind, logits[rows], classes[rows])
        expected[held_out] = one.apply(logits[held_out])
    np.testing.assert_allclose(fitted.score(complaints).probabilities, expected, rtol=1e-9)


def half_known() -> tuple[list[str], list[Severity]]:
    """Patients who ask twice, in other words, so that folds may part them; not all labels agree."""
    twice = [f"patient{row} {complaint_of(200 + row)}" for row in range(PATIENTS)]
    noisy = [SEVERITIES[(row + (row % 5 == 0)) % 3] for row in range(PATIENTS)]
    return [*COMPLAINTS, *twice], [*LABELS, *noisy]


def test_a_fit_that_was_stopped_goes_on_and_comes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints, labels = half_known()
    whole = MemoryAnnotator.fit(complaints, labels, MemorySettings())
    sizes = [size for size, _ in MemoryAnnotator.fits]
    assert len(sizes) == 6
    work = Work(tmp_path / "work")
    for ends_at in (1, 4, 6):
        monkeypatch.setattr(MemoryAnnotator, "fits", [])
        monkeypatch.setattr(MemoryAnnotator, "ends_at", ends_at)
        with pytest.raises(KeyboardInterrupt):
            MemoryAnnotator.fit(complaints, labels, MemorySettings(), Work(work.folder))
        # Stopped in fold 1; then folds 1 to 3 are finished; then 4, 5 and all rows are left.
        monkeypatch.setattr(MemoryAnnotator, "fits", [])
        monkeypatch.setattr(MemoryAnnotator, "ends_at", None)
        again = MemoryAnnotator.fit(complaints, labels, MemorySettings(), work)
        names = [f"fold-{number}" for number in range(ends_at, 6)] + ["all"]
        assert MemoryAnnotator.fits == list(zip(sizes[ends_at - 1 :], names, strict=True))
        assert files_of(again, tmp_path / "again") == files_of(whole, tmp_path / "whole")
        shutil.rmtree(tmp_path / "work")


def files_of(annotator: MemoryAnnotator, folder: Path) -> dict[str, str]:
    annotator.save(folder)
    return {file.name: sha256_of_file(file) for file in folder.iterdir()}


@pytest.mark.parametrize(
    "change", ["labels", "order", "spelling", "settings", "seed", "version", "kind"]
)
def test_parts_of_another_plan_are_never_used(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints, labels, settings = list(COMPLAINTS), list(LABELS), MemorySettings()
    work = Work(tmp_path / "work")
    MemoryAnnotator.fit(complaints, labels, settings, work)
    if change == "labels":
        labels[0], labels[1] = labels[1], labels[0]
    elif change == "order":
        complaints[0], complaints[3] = complaints[3], complaints[0]
    elif change == "spelling":  # the key is the same, but a scorer reads the text itself
        complaints[0] = complaints[0].upper()
        assert comparison_key(complaints[0]) == comparison_key(COMPLAINTS[0])
    elif change == "settings":
        settings = MemorySettings(sureness=5.0)
    elif change == "seed":
        settings = MemorySettings(seed=1)
    elif change == "version":
        monkeypatch.setattr(cross_fitted_module, "__version__", "99")
    else:
        monkeypatch.setattr(MemoryAnnotator, "scorer_signature", lambda: {"library": "2"})
    MemoryAnnotator.fits.clear()
    changed = MemoryAnnotator.fit(complaints, labels, settings, work)
    assert len(MemoryAnnotator.fits) == 6
    assert files_of(changed, tmp_path / "changed") == files_of(
        MemoryAnnotator.fit(complaints, labels, settings), tmp_path / "alone"
    )


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "another name", "another shape", "another type", "not numbers"]
)
def test_a_damaged_fold_is_told_of_and_fitted_again(
    damage: str, tmp_path: Path, told: Told
) -> None:
    complaints, labels = half_known()
    work = Work(tmp_path / "work", told)
    before = MemoryAnnotator.fit(complaints, labels, MemorySettings(), work)
    (kept,) = (tmp_path / "work").glob(f"*/fold-2/{LOGITS}")
    logits = load_file(kept)["logits"]
    if damage in ("truncated", "empty"):
        kept.write_bytes(kept.read_bytes()[: 50 if damage == "truncated" else 0])
    else:
        tensors = {
            "another name": {"logit": logits},
            "another shape": {"logits": logits[:-1].copy()},
            "another type": {"logits": logits.astype(np.float32)},
            "not numbers": {"logits": np.full_like(logits, np.nan)},
        }
        save_file(tensors[damage], kept)
    MemoryAnnotator.fits.clear()
    assert told.warnings == []
    again = MemoryAnnotator.fit(complaints, labels, MemorySettings(), work)
    assert [name for _, name in MemoryAnnotator.fits] == ["fold-2", "all"]
    assert len(told.warnings) == 1
    assert str(kept) in told.warnings[0]
    assert files_of(again, tmp_path / "again") == files_of(before, tmp_path / "before")


def test_a_scorer_that_went_astray_is_no_annotator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryScorer, "logits", lambda self, rows: np.full((len(rows), 3), np.nan))
    with pytest.raises(WorkFailedError, match="memory annotator's fit went astray"):
        MemoryAnnotator.fit(COMPLAINTS, LABELS, MemorySettings(), Work(tmp_path / "work"))
    assert not list((tmp_path / "work").rglob(LOGITS))  # or it would be read the next time


def test_progress_counts_the_folds_and_the_last_fit(told: Told) -> None:
    MemoryAnnotator.fit(COMPLAINTS, LABELS, MemorySettings(folds=3), Work(None, told))
    assert told.stages == {"fitting memory": (4, 4)}


def test_an_annotator_without_labels_takes_the_logits_as_they_are() -> None:
    plain = MemoryAnnotator.unfitted(MemorySettings(), MemoryScorer({"patient0": 2}, 4.0))
    scored = plain.score(COMPLAINTS[:2])
    np.testing.assert_allclose(
        scored.probabilities, scipy_softmax([[0.0, 0.0, 4.0], [0.0, 0.0, 0.0]], axis=1)
    )
    assert scored.out_of_fold == (False, False)
    assert plain.measures is None
    assert plain.signature()["rows"] == 0


def test_the_signature_names_the_calibrator_and_how_complaints_are_known() -> None:
    fitted = MemoryAnnotator.fit(COMPLAINTS, LABELS, MemorySettings())
    signature = fitted.signature()
    assert signature["calibrator"] == fitted.calibrator.kind
    assert signature["rows"] == PATIENTS
    assert {"scikit_learn", "folding_sha256", "fingerprints_sha256"} <= signature.keys()
    signature["rows"] = 0
    assert fitted.signature()["rows"] == PATIENTS


@pytest.mark.parametrize("digest", ["folding_digest", "fingerprint_digest"])
def test_an_annotator_that_could_not_know_its_rows_again_is_refused(
    digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MemoryAnnotator.fit(COMPLAINTS, LABELS, MemorySettings()).save(tmp_path / "annotator")
    MemoryAnnotator.load(tmp_path / "annotator")
    monkeypatch.setattr(cross_fitted_module, digest, lambda: "of another version")
    with pytest.raises(ModelError, match="another way to know complaints again"):
        MemoryAnnotator.load(tmp_path / "annotator")


def test_nothing_scored_is_nothing() -> None:
    fitted: Any = MemoryAnnotator.fit(COMPLAINTS, LABELS, MemorySettings())
    scored = fitted.score([])
    assert scored.probabilities.shape == (0, 3)
    assert scored.out_of_fold == ()
