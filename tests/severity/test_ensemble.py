from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import tarjih.severity.linear as linear_module
from severity.conftest import Told
from tarjih.arabic.normalise import comparison_key
from tarjih.errors import ModelError, SettingsError
from tarjih.files import sha256_of_file
from tarjih.records import SEVERITIES, Severity
from tarjih.settings import make_settings
from tarjih.severity.annotator import Work, load_annotator, read_manifest
from tarjih.severity.calibration import Floats
from tarjih.severity.calibrators import fit_calibrator
from tarjih.severity.ensemble import Combination, EnsembleAnnotator, EnsembleSettings
from tarjih.severity.folds import grouped_folds, near_duplicate_groups
from tarjih.severity.lexical import LexiconAnnotator, LexiconSettings
from tarjih.severity.linear import LinearAnnotator, LinearSettings
from tarjih.severity.measures import severity_indices

MEMBERS: list[dict[str, Any]] = [
    {"kind": "linear", "longest_ngram": 3},
    {"kind": "lexicon"},
    {"kind": "linear", "analyzer": "word", "shortest_ngram": 1, "longest_ngram": 1},
]
NEW = ["\u0646\u0632\u064a\u0641 \u0634\u062f\u064a\u062f", "\u0642\u0634\u0631\u0629", ""]


def made(**changes: Any) -> EnsembleSettings:
    return make_settings(EnsembleSettings, {"members": MEMBERS, "folds": 3, **changes})


@pytest.fixture(scope="module")
def ensemble(complaints: list[str], labels: list[Severity]) -> EnsembleAnnotator:
    return EnsembleAnnotator.fit(complaints, labels, made())


@pytest.fixture(scope="module")
def members(complaints: list[str], labels: list[Severity]) -> list[Any]:
    """The members, fitted by themselves."""
    word = LinearSettings(analyzer="word", shortest_ngram=1, longest_ngram=1, folds=3)
    return [
        LinearAnnotator.fit(complaints, labels, LinearSettings(longest_ngram=3, folds=3)),
        LexiconAnnotator.fit(complaints, labels, LexiconSettings(folds=3)),
        LinearAnnotator.fit(complaints, labels, word),
    ]


def features(members: list[Any], texts: Sequence[str], *, out_of_fold: bool) -> Floats:
    found = [one.score(texts, out_of_fold=out_of_fold).probabilities for one in members]
    return np.asarray(np.log(np.concatenate(found, axis=1)))


def test_new_complaints_score_as_scikit_learn_stacks_them(
    ensemble: EnsembleAnnotator,
    members: list[Any],
    complaints: list[str],
    labels: list[Severity],
) -> None:
    oracle = LogisticRegression(C=1.0, max_iter=10_000)
    oracle.fit(features(members, complaints, out_of_fold=True), severity_indices(labels))
    logits = oracle.decision_function(features(members, NEW, out_of_fold=False))
    scored = ensemble.score(NEW)
    assert scored.out_of_fold_rows == 0
    np.testing.assert_allclose(scored.probabilities, ensemble.calibrator.apply(logits), rtol=1e-6)


def held_out_oracle(
    members: list[Any], complaints: list[str], labels: list[Severity], kind: Any
) -> Floats:
    classes = severity_indices(labels)
    inputs = features(members, complaints, out_of_fold=True)
    groups = near_duplicate_groups([comparison_key(text) for text in complaints], 0.7)
    parts = grouped_folds(labels, groups, folds=3, seed=0)
    logits, expected = np.zeros((2, len(labels), 3))
    for fitted, held_out in parts:
        stacking = LogisticRegression(C=1.0, max_iter=10_000).fit(inputs[fitted], classes[fitted])
        logits[held_out] = stacking.decision_function(inputs[held_out])
    for fitted, held_out in parts:
        calibrator = fit_calibrator(kind, logits[fitted], classes[fitted])
        expected[held_out] = calibrator.apply(logits[held_out])
    return expected


def test_known_complaints_get_what_never_saw_them(
    ensemble: EnsembleAnnotator,
    members: list[Any],
    complaints: list[str],
    labels: list[Severity],
) -> None:
    scored = ensemble.score([*complaints, f"{complaints[0]} \u061f"])
    assert scored.out_of_fold_rows == len(complaints) + 1
    expected = held_out_oracle(members, complaints, labels, ensemble.calibrator.kind)
    np.testing.assert_allclose(scored.probabilities[:-1], expected, rtol=1e-5)
    assert scored.probabilities[-1].tolist() == scored.probabilities[0].tolist()


def test_the_mean_is_the_mean(
    members: list[Any], complaints: list[str], labels: list[Severity]
) -> None:
    fitted = EnsembleAnnotator.fit(complaints, labels, made(combination="mean"))
    found = [one.score(NEW).probabilities for one in members]
    expected = fitted.calibrator.apply(np.log(np.mean(found, axis=0)))
    np.testing.assert_allclose(fitted.score(NEW).probabilities, expected, rtol=1e-9)


def test_a_strong_ridge_leaves_the_shares_of_the_labels(
    complaints: list[str], labels: list[Severity]
) -> None:
    fitted = EnsembleAnnotator.fit(complaints, labels, made(ridge=1e9))
    np.testing.assert_allclose(fitted.score(NEW).probabilities, 1 / 3, atol=0.02)


@pytest.mark.parametrize("combination", ["stacking", "mean"])
def test_a_saved_ensemble_scores_bit_for_bit_the_same(
    combination: str, complaints: list[str], labels: list[Severity], tmp_path: Path
) -> None:
    fitted = EnsembleAnnotator.fit(complaints, labels, made(combination=combination))
    fitted.save(tmp_path / "ensemble")
    loaded = load_annotator(tmp_path / "ensemble")
    assert isinstance(loaded, EnsembleAnnotator)
    for out_of_fold in (True, False):
        before = fitted.score([*NEW, *complaints], out_of_fold=out_of_fold)
        after = loaded.score([*NEW, *complaints], out_of_fold=out_of_fold)
        assert before.probabilities.tobytes() == after.probabilities.tobytes()
        assert before.out_of_fold == after.out_of_fold
    assert loaded.signature() == fitted.signature()
    assert loaded.measures == fitted.measures
    assert loaded.settings == fitted.settings
    member = load_annotator(tmp_path / "ensemble" / "member-2")
    assert isinstance(member, LexiconAnnotator)


@pytest.mark.parametrize(
    "name",
    [
        "member-1/tensors.safetensors",
        "member-2/annotator.json",
        "member-3/calibration.safetensors",
        "combination.safetensors",
    ],
)
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_damage_anywhere_below_is_a_model_error(
    ensemble: EnsembleAnnotator, tmp_path: Path, name: str, damage: str
) -> None:
    folder = tmp_path / "ensemble"
    ensemble.save(folder)
    assert name in read_manifest(folder).files
    if damage == "gone":
        (folder / name).unlink()
    else:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 0xFF
        (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match="What to do") as caught:
        load_annotator(folder)
    assert name.rsplit("/", maxsplit=1)[-1] in str(caught.value)


def test_the_signature_holds_the_plans_of_the_members(
    ensemble: EnsembleAnnotator, members: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = ensemble.signature()
    assert signature["annotator"] == "ensemble"
    alone = [one.signature() for one in members]
    for plan, other in zip(signature["members"], alone, strict=True):
        assert plan == {name: value for name, value in other.items() if name != "calibrator"}
    assert signature["members"][1]["lexicon_sha256"]


def files_of(annotator: EnsembleAnnotator, folder: Path) -> dict[str, str]:
    annotator.save(folder)
    return {
        str(file.relative_to(folder)): sha256_of_file(file)
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("fits_before_the_end", [2, 5])
def test_a_stopped_fit_goes_on_without_doing_anything_twice(
    fits_before_the_end: int,
    complaints: list[str],
    labels: list[Severity],
    ensemble: EnsembleAnnotator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The linear members take eight fits: four of the first, then four of the third."""
    fits: list[int] = []
    real = linear_module._fit_model

    def counted(*args: Any) -> Any:
        fits.append(1)
        if len(fits) > limit:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(linear_module, "_fit_model", counted)
    limit = fits_before_the_end
    with pytest.raises(KeyboardInterrupt):
        EnsembleAnnotator.fit(complaints, labels, made(), Work(tmp_path / "work"))
    fits.clear()
    limit = 99
    again = EnsembleAnnotator.fit(complaints, labels, made(), Work(tmp_path / "work"))
    assert len(fits) == 8 - fits_before_the_end
    assert files_of(again, tmp_path / "again") == files_of(ensemble, tmp_path / "whole")


def test_a_member_that_was_fitted_by_itself_is_not_cross_fitted_again(
    complaints: list[str],
    labels: list[Severity],
    ensemble: EnsembleAnnotator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fits: list[int] = []
    real = linear_module._fit_model

    def counted(*arguments: Any) -> Any:
        fits.append(1)
        return real(*arguments)

    monkeypatch.setattr(linear_module, "_fit_model", counted)
    alone, together = (Work(tmp_path / name, shared=tmp_path / "fits") for name in "ab")
    LinearAnnotator.fit(complaints, labels, LinearSettings(longest_ngram=3, folds=3), alone)
    assert len(fits) == 4
    found = EnsembleAnnotator.fit(complaints, labels, made(), together)
    assert len(fits) == 4 + 8 - 3  # three folds of the first member are there already
    assert files_of(found, tmp_path / "found") == files_of(ensemble, tmp_path / "whole")


def test_a_damaged_member_of_an_earlier_start_is_told_of_and_fitted_again(
    complaints: list[str], labels: list[Severity], tmp_path: Path, told: Told
) -> None:
    work = Work(tmp_path / "work", told)
    before = EnsembleAnnotator.fit(complaints, labels, made(), work)
    (kept,) = (tmp_path / "work").glob("*/member-1/vocabulary.json")
    kept.write_text("[]", encoding="utf-8")
    assert told.warnings == []
    again = EnsembleAnnotator.fit(complaints, labels, made(), work)
    assert len(told.warnings) == 1
    assert str(kept.parent) in told.warnings[0]
    assert files_of(again, tmp_path / "again") == files_of(before, tmp_path / "before")
    assert "member 2 of 3: lexicon" in told.notes


def test_members_have_the_folds_of_the_ensemble() -> None:
    settings = make_settings(
        EnsembleSettings,
        {"folds": 7, "seed": 5, "near_duplicate_similarity": 0.9},
    )
    assert [member.kind for member in settings.members] == ["lexicon", "linear"]
    for member in settings.members:
        assert (member.folds, member.seed, member.near_duplicate_similarity) == (7, 5, 0.9)
    again = make_settings(EnsembleSettings, json.loads(settings.model_dump_json()))
    assert again == settings
    assert isinstance(again.members[1], LinearSettings)


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        ({"members": [{"kind": "linear"}]}, "members: "),
        ({"members": [{"kind": "linear"}, {"kind": "deep"}]}, "members.1: there is no annotator"),
        ({"members": [{"kind": "linear"}, {}]}, r"members.1: a member is a mapping such as"),
        ({"members": [{"kind": "linear"}, "lexicon"]}, r"members.1: a member is a mapping such as"),
        ({"members": "linear"}, "members: "),
        ({"members": [{"kind": "linear"}, {"kind": "ensemble"}]}, "cannot be a member"),
        (
            {"members": [{"kind": "lexicon"}, {"kind": "linear", "shortest_ngram": 0, "x": 1}]},
            r"members\.1: shortest_ngram: .*; x: ",
        ),
        (
            {"members": [{"kind": "lexicon", "folds": 3}, {"kind": "linear"}]},
            "members.0.folds is 3",
        ),
        ({"ridge": 0}, "ridge"),
        ({"combination": "median"}, "combination"),
    ],
)
def test_settings_that_make_no_ensemble_are_refused(raw: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        make_settings(EnsembleSettings, raw)


@pytest.mark.parametrize(
    ("weights", "intercept"),
    [
        (np.zeros((2, 6)), np.zeros(3)),
        (np.zeros((3, 6)), np.zeros(2)),
        (np.full((3, 6), np.nan), np.zeros(3)),
    ],
)
def test_weights_that_combine_nothing_are_refused(weights: Floats, intercept: Floats) -> None:
    with pytest.raises(ValueError, match="weight"):
        Combination(weights, intercept)


def test_weights_of_another_number_of_members_are_refused(
    ensemble: EnsembleAnnotator, tmp_path: Path
) -> None:
    folder = tmp_path / "ensemble"
    ensemble.save(folder)
    fewer = made(members=MEMBERS[:2])
    with pytest.raises(ValueError, match="2 members, weights"):
        EnsembleAnnotator.read_scorer(folder, fewer)
    shutil.rmtree(folder / "member-2")
    with pytest.raises(ModelError, match="not an annotator"):
        EnsembleAnnotator.read_scorer(folder, made())


def test_probabilities_of_zero_have_a_logarithm() -> None:
    sure = np.asarray([[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]])
    assert np.isfinite(Combination().logits(sure)).all()
    assert np.isfinite(Combination(np.ones((3, 6)), np.zeros(3)).logits(sure)).all()


def test_it_is_learned_from_all_three_severities(ensemble: EnsembleAnnotator) -> None:
    likely = ensemble.score(NEW[:2]).probabilities.argmax(axis=1)
    assert [SEVERITIES[int(place)] for place in likely] == [
        Severity.CRITICAL,
        Severity.NON_CRITICAL,
    ]
