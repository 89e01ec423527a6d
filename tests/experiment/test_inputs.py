from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from small_world import config_of, few_consultations, write_consultations
from tarjih.errors import DataError, FolderError, ModelError
from tarjih.experiment.inputs import Inputs, make_inputs
from tarjih.progress import SILENT
from tarjih.severity.annotate import fit_annotator, score_consultations
from tarjih.severity.linear import LinearSettings


def _inputs(plan: dict[str, Any], out: Path, **changes: Any) -> Inputs:
    return make_inputs(config_of(plan, **changes), out, SILENT)


def test_all_splits_get_probabilities_and_nothing_else_changes(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    inputs = _inputs(plan, tmp_path)
    given_rows = {one.id: one for one in few_consultations()}
    everything = [*inputs.train, *inputs.validation, *inputs.test]
    assert sorted(one.id for one in everything) == sorted(given_rows)
    for one in everything:
        assert one.probabilities is not None
        assert one.labelled_severity is given_rows[one.id].labelled_severity
        assert one.response == given_rows[one.id].response
    assert inputs.severity["annotator"]["rows"] == len(inputs.train)
    assert inputs.severity["fitted_rows_out_of_fold"]["out_of_fold_rows"] == len(inputs.train)
    assert inputs.severity["test_rows"]["rows"] == len(inputs.test)
    assert inputs.severity["test_rows"]["out_of_fold_rows"] == 0


def test_the_annotator_is_fitted_on_the_training_split_alone(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    inputs = _inputs(plan, tmp_path)
    expected = fit_annotator(inputs.train, LinearSettings(folds=2, min_complaints=1))
    for split in (inputs.train, inputs.validation, inputs.test):
        assert score_consultations(expected, split) == split


def test_an_annotator_that_was_saved_without_its_cards_gets_them(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    first = _inputs(plan, tmp_path)
    folder = tmp_path / "severity"
    made = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {"README.md", "DATA.md"} <= set(made)
    assert not list(tmp_path.glob("severity.work"))
    (folder / "README.md").unlink()
    (folder / "DATA.md").unlink()
    assert _inputs(plan, tmp_path).hashes == first.hashes
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == made


def test_examples_are_drawn_by_the_seed_and_in_their_order(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    whole = _inputs(plan, tmp_path)
    few = {"data__max_train_examples": 7, "data__max_test_examples": 3}
    drawn = _inputs(plan, tmp_path, **few)
    again = _inputs(plan, tmp_path, conditions=["shuffled"], seeds=[9], **few)
    assert drawn.hashes == again.hashes
    assert (len(drawn.train), len(drawn.test)) == (7, 3)
    assert [one for one in whole.train if one in drawn.train] == drawn.train
    assert [one for one in whole.test if one in drawn.test] == drawn.test
    assert drawn.validation == whole.validation
    assert drawn.train != whole.train[:7]  # drawn, not cut off


def test_severities_from_a_fitted_annotator(
    plan: dict[str, Any], tmp_path: Path, labelled_file: Path
) -> None:
    annotator = fit_annotator(few_consultations(), LinearSettings(folds=3, min_complaints=1))
    annotator.save(tmp_path / "annotator")
    source = {"severity__source": "model", "severity__model": str(tmp_path / "annotator")}
    inputs = _inputs(plan, tmp_path / "out", **source)
    assert inputs.severity["annotator"]["settings"]["folds"] == 3
    assert score_consultations(annotator, inputs.test) == inputs.test
    assert not (tmp_path / "out" / "severity").exists()
    shutil.rmtree(tmp_path / "annotator")
    with pytest.raises(ModelError, match=r"annotator: there is no annotator\.json here"):
        _inputs(plan, tmp_path / "out", **source)


def test_severities_that_the_data_brings(plan: dict[str, Any], tmp_path: Path) -> None:
    brought = {"p_non_critical": 0.2, "p_neutral": 0.3, "p_critical": 0.5}
    file = write_consultations(tmp_path / "scored.jsonl", few_consultations(), **brought)
    inputs = _inputs(plan, tmp_path / "out", data__sources=[str(file)], severity__source="data")
    assert {one.probabilities.as_tuple() for one in inputs.train if one.probabilities} == {
        (0.2, 0.3, 0.5)
    }
    assert inputs.severity == {"source": "probabilities that the data brought"}


def test_data_without_the_severities_that_were_asked_for(
    plan: dict[str, Any], tmp_path: Path, labelled_file: Path
) -> None:
    with pytest.raises(DataError, match="have no severity probabilities") as caught:
        _inputs(plan, tmp_path / "out", severity__source="data")
    assert str(labelled_file) in str(caught.value)
    rows = [json.loads(line) for line in labelled_file.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        del row["severity"]
    file = tmp_path / "unlabelled.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=r"unlabelled\.jsonl: no training row has a severity"):
        _inputs(plan, tmp_path / "other", data__sources=[str(file)])


def test_data_that_changed_since_the_first_start(plan: dict[str, Any], tmp_path: Path) -> None:
    file = write_consultations(tmp_path / "data.jsonl", few_consultations())
    _inputs(plan, tmp_path / "out", data__sources=[str(file)])
    write_consultations(file, few_consultations()[1:])
    with pytest.raises(FolderError, match="changed since") as caught:
        _inputs(plan, tmp_path / "out", data__sources=[str(file)])
    assert "--overwrite" not in str(caught.value)  # `tarjih run` has no such option


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("foo,response\nx,y\n", "data.columns.complaint=NAME"),
        ("complaint,response\nx,\xe9\n", "data.encoding=cp1256"),
        ("complaint,response,severity\nx,y,huh\n", "data.prepare.reject_bad_values=true"),
        ("complaint,response,severity\nx,y,huh\n", "data.prepare.labels.LABEL=critical"),
    ],
)
def test_remedies_name_keys_of_the_experiment_and_no_options(
    text: str, key: str, plan: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        _inputs(plan, tmp_path / "out", data__sources=[str(file)])
    assert str(file) in str(caught.value)
    assert key in caught.value.remedy
    assert "--" not in caught.value.remedy
