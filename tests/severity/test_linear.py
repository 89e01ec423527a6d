from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tarjih.arabic.normalise import comparison_key
from tarjih.errors import DataError, ModelError, SettingsError, WorkFailedError
from tarjih.records import SEVERITIES, Severity
from tarjih.settings import make_settings
from tarjih.severity.calibrators import fit_calibrator
from tarjih.severity.folds import grouped_folds, near_duplicate_groups
from tarjih.severity.linear import LinearAnnotator, LinearSettings
from tarjih.severity.measures import measure

NEW = ["عندي نزيف شديد و إغماء", "أريد نصيحة لجفاف البشرة", "صداع خفيف", ""]


def oracle(keys: list[str], classes: list[int]) -> tuple[TfidfVectorizer, LogisticRegression]:
    """The default model, written down a second time."""
    vectoriser = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True, lowercase=False
    )
    regression = LogisticRegression(C=0.5, max_iter=1000)
    return vectoriser, regression.fit(vectoriser.fit_transform(keys), classes)


def test_a_saved_annotator_scores_bit_for_bit_the_same(
    annotator: LinearAnnotator, complaints: list[str], tmp_path: Path
) -> None:
    annotator.save(tmp_path / "annotator")
    loaded = LinearAnnotator.load(tmp_path / "annotator")
    for out_of_fold in (True, False):
        before = annotator.score([*NEW, *complaints], out_of_fold=out_of_fold)
        after = loaded.score([*NEW, *complaints], out_of_fold=out_of_fold)
        assert before.probabilities.tobytes() == after.probabilities.tobytes()
        assert before.out_of_fold == after.out_of_fold
    assert loaded.signature() == annotator.signature()
    assert loaded.measures == annotator.measures
    assert loaded.settings == annotator.settings


def test_nothing_pickled_and_no_complaint_is_in_the_folder(
    annotator: LinearAnnotator, complaints: list[str], tmp_path: Path
) -> None:
    annotator.save(tmp_path / "annotator")
    files = {file.name: file.read_bytes() for file in (tmp_path / "annotator").iterdir()}
    assert set(files) == {
        "annotator.json",
        "calibration.safetensors",
        "tensors.safetensors",
        "vocabulary.json",
    }
    for content in files.values():
        assert not content.startswith((b"\x80", b"PK"))  # pickles and the zip files around them
        assert not any(complaint.encode() in content for complaint in complaints)


def test_fitting_is_deterministic(
    annotator: LinearAnnotator, complaints: list[str], labels: list[Severity], tmp_path: Path
) -> None:
    again = LinearAnnotator.fit(complaints, labels, LinearSettings())
    annotator.save(tmp_path / "first")
    again.save(tmp_path / "second")
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()
    other = LinearAnnotator.fit(complaints, labels, LinearSettings(seed=1))
    assert not np.array_equal(
        other.score(complaints).probabilities, again.score(complaints).probabilities
    )


def test_new_complaints_score_as_scikit_learn_scores_them(
    annotator: LinearAnnotator, complaints: list[str], labels: list[Severity]
) -> None:
    vectoriser, regression = oracle(
        [comparison_key(text) for text in complaints], [SEVERITIES.index(label) for label in labels]
    )
    logits = regression.decision_function(
        vectoriser.transform([comparison_key(text) for text in NEW])
    )
    scored = annotator.score(NEW)
    assert scored.out_of_fold_rows == 0
    np.testing.assert_allclose(scored.probabilities, annotator.calibrator.apply(logits), rtol=1e-12)


def test_known_complaints_get_the_probabilities_of_another_fold(
    complaints: list[str], labels: list[Severity]
) -> None:
    annotator = LinearAnnotator.fit(complaints, labels, LinearSettings(inverse_regularisation=30))
    honest = annotator.score(complaints)
    in_sample = annotator.score(complaints, out_of_fold=False)
    assert honest.out_of_fold_rows == len(complaints)
    assert in_sample.out_of_fold_rows == 0
    assert np.abs(honest.probabilities - in_sample.probabilities).max(axis=1).min() > 0
    # The labels hold noise on purpose: only a model that saw them can be this right.
    assert measure(in_sample.probabilities, labels).accuracy > 0.9
    assert measure(honest.probabilities, labels).accuracy < 0.85


def test_held_out_probabilities_come_from_a_model_without_the_row(
    annotator: LinearAnnotator, complaints: list[str], labels: list[Severity]
) -> None:
    keys = np.asarray([comparison_key(text) for text in complaints])
    classes = np.asarray([SEVERITIES.index(label) for label in labels])
    groups = near_duplicate_groups(list(keys), 0.7)
    parts = grouped_folds(labels, groups, folds=5, seed=0)
    logits = np.zeros((len(keys), 3))
    for fitted, held_out in parts:
        vectoriser, regression = oracle(list(keys[fitted]), list(classes[fitted]))
        logits[held_out] = regression.decision_function(vectoriser.transform(keys[held_out]))
    expected = np.zeros_like(logits)
    for fitted, held_out in parts:
        calibrator = fit_calibrator(annotator.calibrator.kind, logits[fitted], classes[fitted])
        expected[held_out] = calibrator.apply(logits[held_out])
    np.testing.assert_allclose(annotator.score(complaints).probabilities, expected, rtol=1e-9)


def test_other_spellings_of_a_known_complaint_are_known(
    annotator: LinearAnnotator, complaints: list[str]
) -> None:
    respelt = "  " + complaints[0].replace("أ", "ا").replace("ة", "ه") + " !!"
    scored = annotator.score([respelt, complaints[0]])
    assert scored.out_of_fold == (True, True)
    assert np.array_equal(scored.probabilities[0], scored.probabilities[1])


def test_a_repeated_complaint_gets_the_mean_of_its_rows(
    complaints: list[str], labels: list[Severity]
) -> None:
    texts = [*complaints, complaints[0], complaints[0]]
    fitted = LinearAnnotator.fit(texts, [*labels, *SEVERITIES[:2]], LinearSettings())
    known = fitted.score([complaints[0]])
    assert known.out_of_fold_rows == 1
    assert known.probabilities.sum() == pytest.approx(1.0)


def test_scores_do_not_depend_on_the_batch(annotator: LinearAnnotator) -> None:
    together = annotator.score(NEW).probabilities
    alone = [annotator.score([text]).probabilities[0] for text in NEW]
    assert together.tobytes() == np.asarray(alone).tobytes()


@given(st.lists(st.text(max_size=200), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_gets_a_distribution(annotator: LinearAnnotator, texts: list[str]) -> None:
    scored = annotator.score(texts)
    assert scored.probabilities.shape == (len(texts), 3)
    assert np.isfinite(scored.probabilities).all()
    assert (scored.probabilities > 0).all()
    np.testing.assert_allclose(scored.probabilities.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("text", ["", " \n", "\U0001f912\U0001f494", "\ud800", "نزيف " * 50_000])
def test_odd_texts_get_a_distribution(annotator: LinearAnnotator, text: str) -> None:
    probabilities = annotator.score([text]).probabilities
    assert np.isfinite(probabilities).all()
    assert probabilities.sum() == pytest.approx(1.0)


def test_it_learns_and_reports_how_well(annotator: LinearAnnotator, labels: list[Severity]) -> None:
    measures = annotator.measures
    assert measures is not None
    assert measures.rows == measures.out_of_fold_rows == len(labels)
    assert measures.accuracy > 0.55
    assert measures.log_loss < np.log(3)
    likely = annotator.score(NEW[:2]).probabilities.argmax(axis=1)
    assert [SEVERITIES[int(place)] for place in likely] == [
        Severity.CRITICAL,
        Severity.NON_CRITICAL,
    ]


def test_the_signature_names_what_the_scores_depend_on(
    annotator: LinearAnnotator, complaints: list[str], labels: list[Severity]
) -> None:
    signature = annotator.signature()
    assert signature["annotator"] == "linear"
    assert signature["rows_by_severity"] == {"non_critical": 50, "neutral": 50, "critical": 50}
    assert signature["settings"]["seed"] == 0
    moved = LinearAnnotator.fit(complaints, [*labels[3:], *labels[:3][::-1]], LinearSettings())
    assert moved.signature()["rows_sha256"] != signature["rows_sha256"]


@pytest.mark.parametrize(
    "name",
    ["tensors.safetensors", "vocabulary.json", "annotator.json", "calibration.safetensors"],
)
@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_damaged_folder_is_a_model_error(
    annotator: LinearAnnotator, tmp_path: Path, name: str, damage: str
) -> None:
    annotator.save(tmp_path / "annotator")
    file = tmp_path / "annotator" / name
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    with pytest.raises(ModelError, match="What to do"):
        LinearAnnotator.load(tmp_path / "annotator")


@pytest.mark.parametrize(
    ("keep", "what"),
    [
        (slice(0, 4), "fewer than the 5 folds"),
        (slice(0, None, 3), "no labelled complaint is neutral"),
        (slice(0, 12), "fewer than the 5 folds"),
    ],
)
def test_too_few_labels_are_a_data_error(
    complaints: list[str], labels: list[Severity], keep: slice, what: str
) -> None:
    with pytest.raises(DataError, match=what):
        LinearAnnotator.fit(complaints[keep], labels[keep], LinearSettings())


def test_complaints_without_a_common_ngram_are_a_data_error(labels: list[Severity]) -> None:
    apart = [chr(0x4E00 + index) for index in range(len(labels))]  # Han characters
    with pytest.raises(DataError, match="no n-gram occurs in 2 complaints"):
        LinearAnnotator.fit(apart, labels, LinearSettings(folds=2))


def test_a_solver_that_is_stopped_early_says_so(
    complaints: list[str], labels: list[Severity]
) -> None:
    hasty = LinearSettings(max_iterations=1, inverse_regularisation=100)
    with pytest.raises(WorkFailedError, match="did not converge in 1 iterations"):
        LinearAnnotator.fit(complaints, labels, hasty)


@pytest.mark.parametrize("analyzer", ["char_wb", "char", "word"])
def test_every_analyzer_can_be_fitted_saved_and_loaded(
    complaints: list[str], labels: list[Severity], tmp_path: Path, analyzer: str
) -> None:
    some = make_settings(
        LinearSettings,
        {"analyzer": analyzer, "shortest_ngram": 1, "longest_ngram": 2, "max_ngrams": 300},
    )
    fitted = LinearAnnotator.fit(complaints, labels, some)
    fitted.save(tmp_path / "annotator")
    loaded = LinearAnnotator.load(tmp_path / "annotator")
    assert loaded.score(NEW).probabilities.tobytes() == fitted.score(NEW).probabilities.tobytes()


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="shortest_ngram"):
        make_settings(LinearSettings, {"shortest_ngram": 4, "longest_ngram": 3})
