from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss

from fake_annotator import FakeAnnotator, FakeScorer, fake_consultations, register_fakes
from tarjih.errors import DataError, FolderError, ModelError, SettingsError
from tarjih.progress import Reporter
from tarjih.records import PROBABILITY_COLUMNS, SEVERITIES, Consultation
from tarjih.settings import make_settings
from tarjih.severity import compare as comparing
from tarjih.severity import linear as linear_module
from tarjih.severity.calibration import Floats, expected_calibration_error
from tarjih.severity.compare import chosen_annotators, compare_annotators
from tarjih.severity.comparison import Comparison, ComparisonSettings, load_comparison
from tarjih.severity.measures import measure
from tarjih.severity.summarise import reliability


class Listening(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return register_fakes(monkeypatch)


CONSULTATIONS = fake_consultations(120, twins=15)


def compared(
    out: Path, *names: str, rows: list[Consultation] | None = None, **changes: Any
) -> Comparison:
    settings = make_settings(ComparisonSettings, {"folds": 3, "resamples": 200, **changes})
    return compare_annotators(
        CONSULTATIONS if rows is None else rows, chosen_annotators(names, settings), settings, out
    )


def held_out(out: Path, file: str) -> tuple[Floats, list[dict[str, Any]]]:
    rows = pq.read_table(out / file).to_pylist()
    return np.array([[row[name] for name in PROBABILITY_COLUMNS] for row in rows]), rows


def test_measures_are_those_of_the_held_out_probabilities(fits: list[str], tmp_path: Path) -> None:
    comparison = compared(tmp_path)  # every kind there is
    assert [one.name for one in comparison.annotators] == ["good", "poor"]
    labels = [SEVERITIES.index(c.labelled_severity or SEVERITIES[0]) for c in CONSULTATIONS]
    for one in comparison.annotators:
        (file,) = one.probabilities
        probabilities, rows = held_out(tmp_path, file)
        assert [row["id"] for row in rows] == [c.id for c in CONSULTATIONS]
        assert "complaint" not in rows[0]
        found = {name: estimate.value for name, estimate in one.measures.items()}
        called = probabilities.argmax(axis=1)
        assert found["accuracy"] == pytest.approx(accuracy_score(labels, called))
        assert found["log_loss"] == pytest.approx(log_loss(labels, probabilities))
        assert found["expected_calibration_error"] == pytest.approx(
            expected_calibration_error(probabilities, labels)
        )
        for estimate in one.measures.values():
            assert estimate.low is not None
            assert estimate.value is not None
            assert estimate.high is not None
            assert estimate.low <= estimate.value <= estimate.high or (
                estimate.low - 0.06 < estimate.value < estimate.high + 0.06
            )
        assert np.sum(one.confusion_matrix) == len(CONSULTATIONS)
        assert one.signatures[0]["annotator"] == one.kind
    assert load_comparison(tmp_path) == comparison
    assert comparison.data["groups_of_near_duplicates"] == 120
    assert comparison.data["rows"] == 135


def test_near_duplicates_share_a_fold(fits: list[str], tmp_path: Path) -> None:
    compared(tmp_path, "good")
    _, rows = held_out(tmp_path, "probabilities/good-seed-0.parquet")
    fold = {row["id"]: row["fold"] for row in rows}
    assert set(fold.values()) == {1, 2, 3}
    assert all(fold[f"twin-{number}"] == fold[str(number)] for number in range(15))


def test_the_others_are_compared_with_the_first(fits: list[str], tmp_path: Path) -> None:
    comparison = compared(tmp_path, "good", "poor", resamples=2000)
    good, poor = comparison.annotators
    found = {one.measure: one for one in comparison.differences}
    assert set(found) == set(good.measures)
    assert {one.name for one in comparison.differences} == {"poor"}
    for name, one in found.items():
        first, second = good.measures[name].value, poor.measures[name].value
        assert first is not None
        assert second is not None
        assert one.difference.value == pytest.approx(second - first)
        assert one.p is not None
        assert one.p_corrected is not None
        assert one.p <= one.p_corrected <= 1
    accuracy = found["accuracy"]
    assert accuracy.difference.high is not None
    assert accuracy.difference.high < 0
    assert accuracy.p == pytest.approx(1 / 2001)
    assert accuracy.p_corrected == pytest.approx(len(found) / 2001)


def test_an_annotator_is_as_good_as_itself(fits: list[str], tmp_path: Path) -> None:
    (tmp_path / "same.yaml").write_text("kind: good\n")
    comparison = compared(tmp_path / "out", "good", str(tmp_path / "same.yaml"))
    assert fits == ["good"] * 5  # the folds are the same fits, and are not fitted twice
    assert {one.difference.value for one in comparison.differences} == {0.0}
    assert {one.p for one in comparison.differences} == {1.0}


def test_a_finished_annotator_is_not_fitted_again(fits: list[str], tmp_path: Path) -> None:
    first = compared(tmp_path, "good")
    assert fits == ["good"] * 4  # three folds, and all rows
    fits.clear()
    assert compared(tmp_path, "good") == first
    assert fits == []
    both = compared(tmp_path, "poor", "good")
    assert fits == ["poor"] * 4
    assert both.annotators[1] == first.annotators[0]
    fits.clear()
    more = compared(tmp_path, "good", seeds=2, resamples=100, under_triage_targets=[0.5])
    assert fits == ["good"] * 4
    assert [target.target for target in more.annotators[0].triage] == [None, 0.5]
    assert not (tmp_path / "work").exists()


def test_a_fit_that_was_interrupted_goes_on_with_its_next_fold(
    fits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compared(tmp_path / "whole", "good", "poor")
    fits.clear()
    real = FakeScorer.logits
    calls = 0

    def interrupted(self: FakeScorer, complaints: list[str]) -> Floats:
        nonlocal calls
        calls += 1
        if calls == 6:  # good has three folds; this is the third of poor
            raise KeyboardInterrupt
        return real(self, complaints)

    monkeypatch.setattr(FakeScorer, "logits", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compared(tmp_path / "out", "good", "poor")
    assert not (tmp_path / "out" / "comparison.json").exists()
    compared(tmp_path / "out", "good")  # what poor has finished is kept all the same
    fits.clear()
    again = compared(tmp_path / "out", "good", "poor")
    assert fits == ["poor"] * 2
    assert again == whole
    assert not (tmp_path / "out" / "work").exists()


def test_a_member_of_an_ensemble_that_is_compared_too_is_not_fitted_again(
    labelled: list[Consultation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []
    real = linear_module._fit_model

    def counted(*arguments: Any) -> Any:
        fits.append(1)
        return real(*arguments)

    monkeypatch.setattr(linear_module, "_fit_model", counted)
    compared(tmp_path, "linear", "ensemble", rows=labelled)
    assert len(fits) == 5  # three folds and all rows; of the ensemble's linear member all rows


def test_probabilities_of_another_version_are_made_again(
    fits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared(tmp_path, "good")
    monkeypatch.setattr("tarjih.severity.cross_fitted.__version__", "99")
    fits.clear()
    settings = ComparisonSettings(folds=3, resamples=20)
    listening = Listening()
    again = compare_annotators(
        CONSULTATIONS, chosen_annotators(["good"], settings), settings, tmp_path, listening
    )
    assert fits == ["good"] * 4
    assert again.annotators[0].signatures[0]["tarjih"] == "99"
    assert "good-seed-0: made by another version, so it is made again" in listening.said


@pytest.mark.parametrize("damage", [b"", b"PAR1 no more", None])
def test_damaged_probabilities_are_made_again(
    damage: bytes | None, fits: list[str], tmp_path: Path
) -> None:
    first = compared(tmp_path, "good")
    file = tmp_path / "probabilities" / "good-seed-0.parquet"
    if damage is None:
        pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    else:
        file.write_bytes(damage)
    assert compared(tmp_path, "good") == first


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"folds": 4}, "different: folds"),
        ({"seed": 3, "nested": True}, "different: seed, nested"),
        ({"near_duplicate_similarity": 0.9}, "near_duplicate_similarity"),
        ({"rows": CONSULTATIONS[1:]}, "different: data"),
    ],
)
def test_another_comparison_in_the_folder_is_refused(
    changes: dict[str, Any], named: str, fits: list[str], tmp_path: Path
) -> None:
    compared(tmp_path, "good")
    fits.clear()
    with pytest.raises(FolderError, match=named):
        compared(tmp_path, "good", **changes)
    assert fits == []


def test_an_annotator_whose_settings_changed_is_refused(fits: list[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("kind: good\nskill: 0.5\n")
    compared(tmp_path / "out", "poor", str(file))
    file.write_text("kind: good\nskill: 0.7\n")
    with pytest.raises(FolderError, match="different: annotator mine"):
        compared(tmp_path / "out", str(file))


def test_someone_elses_folder_is_left_alone(fits: list[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match="holds no comparison"):
        compared(tmp_path, "good")
    (tmp_path / "plan.json").write_text("[]")
    with pytest.raises(FolderError, match=r"different: plan\.json"):
        compared(tmp_path, "good")


def test_several_seeds_are_averaged(fits: list[str], tmp_path: Path) -> None:
    comparison = compared(tmp_path, "good", seeds=3, seed=5)
    (one,) = comparison.annotators
    assert [Path(file).stem for file in one.probabilities] == [f"good-seed-{n}" for n in (5, 6, 7)]
    assert [signature["settings"]["seed"] for signature in one.signatures] == [5, 6, 7]
    labels = [c.labelled_severity for c in CONSULTATIONS if c.labelled_severity is not None]
    of_seeds = [
        measure(held_out(tmp_path, file)[0], labels, out_of_fold_rows=len(labels))
        for file in one.probabilities
    ]
    assert list(one.by_seed) == of_seeds
    assert one.measures["log_loss"].value == pytest.approx(np.mean([m.log_loss for m in of_seeds]))
    assert np.sum(one.confusion_matrix) == 3 * len(labels)


def test_nested_annotators_see_nothing_of_the_rows_they_are_judged_on(
    fits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    real = FakeAnnotator.fit_scorer.__func__  # type: ignore[attr-defined]  # of the class itself

    def listening(cls: Any, complaints: list[str], *rest: Any) -> FakeScorer:
        seen.append(set(complaints))
        scorer = real(cls, complaints, *rest)
        assert isinstance(scorer, FakeScorer)
        return scorer

    monkeypatch.setattr(FakeAnnotator, "fit_scorer", classmethod(listening))
    comparison = compared(tmp_path, "good", nested=True)
    assert comparison.annotators[0].signatures[0]["nested"] is True
    assert len(seen) == 3 * 4  # a whole annotator for each fold
    _, rows = held_out(tmp_path, "probabilities/good-seed-0.parquet")
    for fold in (1, 2, 3):
        judged = {
            c.complaint for c, row in zip(CONSULTATIONS, rows, strict=True) if row["fold"] == fold
        }
        for fitted in seen[4 * (fold - 1) : 4 * fold]:
            assert not fitted & judged
    assert seen[3] == {
        c.complaint for c, row in zip(CONSULTATIONS, rows, strict=True) if row["fold"] > 1
    }


def test_files_of_settings_name_their_annotator(fits: list[str], tmp_path: Path) -> None:
    file = tmp_path / "weaker.yaml"
    file.write_text("kind: good\nskill: 0.1\nfolds: 17\n")
    settings = ComparisonSettings(folds=3, seeds=2, seed=4)
    found = chosen_annotators(["poor", str(file)], settings)
    assert list(found) == ["poor", "weaker"]
    first, second = found["weaker"]
    assert (first.kind, first.folds, first.seed, second.seed) == ("good", 3, 4, 5)
    assert first.model_dump()["skill"] == 0.1
    with pytest.raises(SettingsError, match="two annotators would be called 'poor'"):
        chosen_annotators(["poor", "poor"], settings)
    with pytest.raises(ModelError, match=r"kind 'best'.*\n.*good, poor"):
        chosen_annotators(["best"], settings)
    file.write_text("kind: good\nskil: 1\n")
    with pytest.raises(SettingsError, match="did you mean 'skill'"):
        chosen_annotators([str(file)], settings)
    file.write_text("skill: 1\n")
    with pytest.raises(SettingsError, match="kind: this key is required"):
        chosen_annotators([str(file)], settings)


def test_rows_without_a_label_and_too_few_rows_are_refused(fits: list[str], tmp_path: Path) -> None:
    bare = [*CONSULTATIONS[:9], replace(CONSULTATIONS[9], labelled_severity=None)]
    with pytest.raises(DataError, match="row 10"):
        compared(tmp_path, "good", rows=bare)
    with pytest.raises(DataError, match="folds"):
        compared(tmp_path, "good", rows=CONSULTATIONS[:4])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"costs": [[0, 1, 1], [1, 0, 1], [1, 1, 1]]}, "a right call costs 0"),
        ({"costs": [[0, 1, 1], [1, 0, 0], [1, 1, 0]]}, "every wrong one more than 0"),
        ({"under_triage_targets": [0.1, 1.0]}, "below 1"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        make_settings(ComparisonSettings, changes)


def test_less_under_triage_costs_something(fits: list[str], tmp_path: Path) -> None:
    rows = fake_consultations(600, seed=3)
    comparison = compared(tmp_path, "good", rows=rows, under_triage_targets=[0.1, 0.02])
    (one,) = comparison.annotators
    plain, some, few = one.triage
    assert plain.measures["accuracy"] == one.measures["accuracy"]  # equal costs: the most likely
    assert plain.penalties == ()
    assert len(some.penalties) == 3
    rates = [choice.measures["under_triage_rate"].value or 0.0 for choice in one.triage]
    assert rates[1:] == pytest.approx([0.1, 0.02], abs=0.03)
    assert rates[0] > rates[2]
    assert (few.measures["accuracy"].value or 1) < (plain.measures["accuracy"].value or 0)
    probabilities, _ = held_out(tmp_path, one.probabilities[0])
    assert np.allclose(probabilities.sum(axis=1), 1)  # the rule leaves them as they are


def test_costs_decide_the_calls(fits: list[str], tmp_path: Path) -> None:
    costs = [[0, 1, 4], [1, 0, 1], [4, 1, 0]]
    (one,) = compared(tmp_path, "poor", costs=costs).annotators
    probabilities, rows = held_out(tmp_path, one.probabilities[0])
    called = (probabilities @ np.array(costs)).argmin(axis=1)
    labels = [SEVERITIES.index(row["labelled_severity"]) for row in rows]
    assert one.triage[0].measures["accuracy"].value == pytest.approx(accuracy_score(labels, called))


def test_reliability_by_hand() -> None:
    found = reliability(
        np.array([[0.61, 0.2, 0.19], [0.65, 0.3, 0.05], [0.1, 0.1, 0.8]]), np.array([0, 1, 2])
    )
    # Of 15 bins, 0.61 and 0.65 are in (9/15, 10/15], 0.8 in (11/15, 12/15].
    assert [b.count for b in found.confidence] == [0] * 9 + [2, 0, 1] + [0] * 3
    assert found.confidence[9].stated == pytest.approx(0.63)
    assert found.confidence[9].observed == 0.5
    assert found.confidence[0].stated is None
    critical = found.by_severity["critical"]
    assert Counter({n: b.count for n, b in enumerate(critical) if b.count}) == {0: 1, 2: 1, 11: 1}
    assert critical[11].observed == 1.0


def test_a_comparison_that_is_absent_or_damaged(fits: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not there"):
        load_comparison(tmp_path)
    compared(tmp_path, "good")
    file = tmp_path / "comparison.json"
    raw = json.loads(file.read_text())
    del raw["annotators"][0]["triage"]
    file.write_text(json.dumps(raw))
    with pytest.raises(DataError, match=r"annotators\.0\.triage: Field required"):
        load_comparison(tmp_path)
    shutil.rmtree(tmp_path / "probabilities")


def test_the_folder_is_claimed_before_anything_is_fitted(
    fits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "predict_held_out", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compared(tmp_path, "good")
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["annotators"]["good"]["kind"] == "good"
