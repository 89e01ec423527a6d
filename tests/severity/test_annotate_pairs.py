"""Files scored by an annotator that reads the doctors' responses."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import tarjih.severity.shards as shards_module
import tarjih.severity.survey as survey_module
from severity.conftest import TYPICAL, make_labelled
from tarjih.errors import DataError
from tarjih.records import PROBABILITY_COLUMNS, Consultation, Severity
from tarjih.severity.annotate import (
    evaluate_file,
    fit_annotator,
    score_consultations,
    score_file,
)
from tarjih.severity.answered import AnsweredComplaints
from tarjih.severity.calibration import Floats
from tarjih.severity.linear import LinearAnnotator, LinearSettings
from tarjih.severity.scored_table import ScoredFile

ADVICE = {severity: f"advice{number}" for number, severity in enumerate(Severity)}
NEW = " ".join(TYPICAL[Severity.NEUTRAL][:3])


@pytest.fixture(scope="module")
def answered() -> list[Consultation]:
    rows = make_labelled(60)
    return [replace(one, response=f"{ADVICE[one.labelled_severity]} x") for one in rows]  # type: ignore[index]  # all are labelled


@pytest.fixture(scope="module")
def annotator(answered: list[Consultation]) -> LinearAnnotator:
    found = fit_annotator(answered, LinearSettings(responses="read", folds=3))
    assert isinstance(found, LinearAnnotator)
    return found


@pytest.fixture(scope="module")
def folder(annotator: LinearAnnotator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("severity") / "annotator"
    annotator.save(path)
    return path


def write_csv(file: Path, rows: list[tuple[str, str]], header: tuple[str, ...]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return file


def pairs_of(answered: list[Consultation]) -> list[tuple[str, str]]:
    """Known rows, and new complaints with every response, again and again."""
    new = [(f"{NEW} {number}", said) for number in range(3) for said in ADVICE.values()]
    return [*new, *((one.complaint, one.response) for one in answered), *new]


def scored(folder: Path, data: Path) -> tuple[ScoredFile, Floats]:
    done = score_file(folder, data, data.with_suffix(".parquet"))
    table = pq.read_table(done.file)
    return done, np.stack([table.column(name).to_numpy() for name in PROBABILITY_COLUMNS], axis=1)


@pytest.mark.parametrize("remembered", [1 << 22, 5])
def test_every_pair_is_scored_by_its_own_response(
    remembered: int,
    folder: Path,
    annotator: LinearAnnotator,
    answered: list[Consultation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards_module, "SHARD_ROWS", 16)
    monkeypatch.setattr(survey_module, "REMEMBERED_ROWS", remembered)
    rows = pairs_of(answered)
    file = write_csv(tmp_path / "pairs.csv", rows, ("question", "answer"))
    done, found = scored(folder, file)
    wanted = annotator.score(AnsweredComplaints([c for c, _ in rows], [r for _, r in rows]))
    assert found.tobytes() == wanted.probabilities.tobytes()
    assert list(found[:3].argmax(axis=1)) == [0, 1, 2]  # one complaint, three responses
    if remembered > len(rows):
        assert done.scored_complaints == len(set(rows)) < len(rows)


def test_a_pair_without_a_response_is_named(folder: Path, tmp_path: Path) -> None:
    rows = [(NEW, "x"), (NEW, "nan"), (NEW, " ")]
    file = write_csv(tmp_path / "pairs.csv", rows, ("question", "answer"))
    with pytest.raises(DataError, match="no response, which this annotator reads") as caught:
        scored(folder, file)
    assert (caught.value.row, caught.value.column) == (2, "answer")
    assert "responses=teach" in caught.value.remedy
    assert NEW not in str(caught.value)


def test_complaints_alone_are_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "complaints.csv", [(NEW, "5")], ("question", "age"))
    with pytest.raises(DataError, match="response"):
        scored(folder, file)
    assert not (tmp_path / "complaints.parquet.work").exists()


def test_consultations_and_labelled_files_are_scored_with_their_responses(
    folder: Path, annotator: LinearAnnotator, answered: list[Consultation], tmp_path: Path
) -> None:
    new = Consultation(id="1", complaint=NEW, response=ADVICE[Severity.CRITICAL])
    (found,) = score_consultations(annotator, [new])
    assert found.probabilities is not None
    assert found.probabilities.p_critical > 0.5
    with pytest.raises(DataError, match="row 2: the complaint has no response"):
        score_consultations(annotator, [new, replace(new, response="")])
    rows = [(one.complaint, one.response, str(one.labelled_severity)) for one in answered]
    file = write_csv(tmp_path / "labelled.csv", rows, ("question", "answer", "severity"))  # type: ignore[arg-type]  # three columns
    measures = evaluate_file(folder, file)
    assert measures.out_of_fold_rows == len(answered)
    assert measures == annotator.measures
