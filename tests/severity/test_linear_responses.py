"""What the doctors' responses do for the n-gram annotator: nothing, teach it, or be read by it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from severity.conftest import COMMON, TYPICAL, make_labelled
from tarjih.arabic.normalise import comparison_key
from tarjih.errors import DataError, ModelError
from tarjih.records import SEVERITIES, Consultation, Severity
from tarjih.severity.annotator import NO_WORK, load_annotator
from tarjih.severity.answered import AnsweredComplaints, rows_of
from tarjih.severity.calibration import Floats, Integers, fit_temperature, softmax
from tarjih.severity.cross_fitted import Part
from tarjih.severity.ensemble import EnsembleAnnotator, EnsembleSettings
from tarjih.severity.folds import grouped_folds, near_duplicate_groups
from tarjih.severity.linear import (
    LinearAnnotator,
    LinearSettings,
    _fit_model,
    teacher_probabilities,
)
from tarjih.severity.measures import severity_indices
from tarjih.severity.predictions import LabelledRows, predict_held_out

TEACH = LinearSettings(responses="teach")
READ = LinearSettings(responses="read")
# One word for each severity that only doctors write.
DOCTORS = {severity: f"advice{number}" for number, severity in enumerate(SEVERITIES)}


def answered_rows(rows: int = 150) -> list[Consultation]:
    """The usual complaints; four responses of five say the label."""
    draw = random.Random(1)
    found = []
    for one in make_labelled(rows):
        assert one.labelled_severity is not None
        said = one.labelled_severity if draw.random() < 0.8 else draw.choice(SEVERITIES)
        words = [DOCTORS[said], *draw.sample(COMMON, 4)]
        found.append(replace(one, response=" ".join(words)))
    return found


@pytest.fixture(scope="module")
def pairs() -> AnsweredComplaints:
    return AnsweredComplaints.of(answered_rows())


@pytest.fixture(scope="module")
def classes(labels: list[Severity]) -> Integers:
    return severity_indices(labels)


@pytest.fixture(scope="module")
def parts(pairs: AnsweredComplaints, labels: list[Severity]) -> list[Part]:
    return folds_of(pairs, labels)


@pytest.fixture(scope="module", params=[TEACH, READ], ids=["teach", "read"])
def fitted(
    request: pytest.FixtureRequest, pairs: AnsweredComplaints, labels: list[Severity]
) -> LinearAnnotator:
    return LinearAnnotator.fit(pairs, labels, request.param)


def folds_of(pairs: AnsweredComplaints, labels: list[Severity]) -> list[Part]:
    groups = near_duplicate_groups([comparison_key(text) for text in pairs], 0.7)
    return grouped_folds(labels, groups, folds=5, seed=0)


def with_responses(pairs: AnsweredComplaints, rows: Integers, response: str) -> AnsweredComplaints:
    responses = [response if row in rows else one for row, one in enumerate(pairs.responses)]
    return AnsweredComplaints(pairs.complaints, responses)


def reader(fitted: AnsweredComplaints, classes: Integers, asked: AnsweredComplaints) -> Floats:
    """Logits of the model that reads both texts, written down a second time."""
    trained, tested = [], []
    for texts, others in zip(
        (fitted.complaints, fitted.responses), (asked.complaints, asked.responses), strict=True
    ):
        vectoriser = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True, lowercase=False
        )
        trained.append(vectoriser.fit_transform([comparison_key(text) for text in texts]))
        tested.append(vectoriser.transform([comparison_key(text) for text in others]))
    regression = LogisticRegression(C=0.5, max_iter=1000).fit(sparse.hstack(trained), classes)
    return np.asarray(regression.decision_function(sparse.hstack(tested)))


def test_a_teacher_without_a_share_changes_nothing(
    pairs: AnsweredComplaints, labels: list[Severity], tmp_path: Path
) -> None:
    alone = LinearAnnotator.fit(pairs, labels, LinearSettings())
    taught = LinearAnnotator.fit(
        pairs, labels, LinearSettings(responses="teach", teacher_share=0.0)
    )
    alone.save(tmp_path / "alone")
    taught.save(tmp_path / "taught")
    for name in ("tensors.safetensors", "vocabulary.json", "calibration.safetensors"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "taught" / name).read_bytes()


def test_soft_targets_are_fitted_as_their_equation_says(pairs: AnsweredComplaints) -> None:
    settings = LinearSettings(analyzer="word", shortest_ngram=1, longest_ngram=1)
    keys = [comparison_key(text) for text in pairs]
    targets = np.random.default_rng(0).dirichlet([0.5, 0.5, 0.5], size=len(keys))
    targets[:10] = np.eye(3)[0]
    (vectoriser,), regression = _fit_model([keys], targets, settings)
    features = vectoriser.transform(keys).toarray()
    ngrams = features.shape[1]

    def loss(values: Floats) -> float:
        weights, biases = values[: 3 * ngrams].reshape(3, ngrams), values[3 * ngrams :]
        log_p = log_softmax(features @ weights.T + biases, axis=1)
        ridge = 0.5 * (weights**2).sum() / settings.inverse_regularisation
        return float(-(targets * log_p).sum() + ridge)

    def gradient(values: Floats) -> Floats:
        weights, biases = values[: 3 * ngrams].reshape(3, ngrams), values[3 * ngrams :]
        error = softmax(features @ weights.T + biases) - targets
        of_weights = error.T @ features + weights / settings.inverse_regularisation
        return np.concatenate([of_weights.ravel(), error.sum(axis=0)])

    start = np.zeros(3 * ngrams + 3)
    best = minimize(loss, start, jac=gradient, method="BFGS", options={"gtol": 1e-8})
    found = np.concatenate([regression.coef_.ravel(), regression.intercept_])
    assert loss(found) == pytest.approx(best.fun, rel=5e-6)  # as far as it iterates
    np.testing.assert_allclose(regression.coef_.ravel(), best.x[: 3 * ngrams], atol=5e-3)


def test_the_teacher_reads_both_texts_of_rows_that_it_did_not_see(
    pairs: AnsweredComplaints, classes: Integers, parts: list[Part]
) -> None:
    logits = np.zeros((len(pairs), 3))
    for rows, held_out in parts:
        some, others = rows_of(pairs, rows), rows_of(pairs, held_out)
        assert isinstance(some, AnsweredComplaints)
        assert isinstance(others, AnsweredComplaints)
        logits[held_out] = reader(some, classes[rows], others)
    expected = softmax(logits / fit_temperature(logits, classes))
    np.testing.assert_allclose(teacher_probabilities(pairs, classes, TEACH), expected, rtol=1e-6)


def test_the_targets_are_the_labels_and_what_the_teacher_says(
    pairs: AnsweredComplaints, classes: Integers, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Floats] = []

    def remembered(texts: list[list[str]], targets: Floats, settings: LinearSettings) -> object:
        if settings.responses == "teach":
            assert len(texts) == 1  # a student never reads responses
            seen.append(targets)
        return _fit_model(texts, targets, settings)

    monkeypatch.setattr("tarjih.severity.linear._fit_model", remembered)
    settings = LinearSettings(responses="teach", teacher_share=0.25)
    LinearAnnotator.fit_scorer(pairs, classes, settings, NO_WORK)
    taught = teacher_probabilities(pairs, classes, settings)
    np.testing.assert_allclose(seen, [0.75 * np.eye(3)[classes] + 0.25 * taught], rtol=1e-12)


@pytest.mark.parametrize("planted", ["responses", "labels"])
def test_a_taught_annotators_held_out_rows_leak_nothing(
    pairs: AnsweredComplaints, classes: Integers, parts: list[Part], planted: str
) -> None:
    """Neither the response nor the label of a fold's rows can change what is said of them."""
    _, held_out = parts[0]
    others = np.setdiff1d(np.arange(len(pairs)), held_out)
    changed, moved = pairs, classes.copy()
    if planted == "responses":
        changed = with_responses(pairs, held_out, DOCTORS[Severity.CRITICAL])
    else:
        moved[held_out] = (classes[held_out] + 1) % 3
    before, _ = LinearAnnotator.cross_fit(pairs, classes, parts, TEACH, NO_WORK)
    after, _ = LinearAnnotator.cross_fit(changed, moved, parts, TEACH, NO_WORK)
    assert before[held_out].tobytes() == after[held_out].tobytes()
    assert (before[others] != after[others]).any(axis=1).all()  # to these it was of use


def test_rows_of_one_complaint_stay_in_one_fold_whatever_the_responses() -> None:
    rows = answered_rows(30)
    twice = [*rows, *(replace(one, id=f"{one.id}b", response="x") for one in rows)]
    found = LabelledRows.of(twice, 0.7)
    assert found.groups[:30] == found.groups[30:]


def test_a_known_complaint_is_known_whatever_the_response(
    fitted: LinearAnnotator, pairs: AnsweredComplaints
) -> None:
    usual = fitted.score(pairs)
    planted = AnsweredComplaints(pairs.complaints, [DOCTORS[Severity.CRITICAL]] * len(pairs))
    scored = fitted.score(planted)
    assert scored.out_of_fold_rows == usual.out_of_fold_rows == len(pairs)
    assert scored.probabilities.tobytes() == usual.probabilities.tobytes()


def test_an_annotator_that_reads_responses_scores_as_scikit_learn_does(
    pairs: AnsweredComplaints, labels: list[Severity], classes: Integers
) -> None:
    fitted = LinearAnnotator.fit(pairs, labels, READ)
    word = TYPICAL[Severity.NEUTRAL][0]
    new = AnsweredComplaints([word, word, word], list(DOCTORS.values()))
    scored = fitted.score(new)
    expected = fitted.calibrator.apply(reader(pairs, classes, new))
    np.testing.assert_allclose(scored.probabilities, expected, rtol=1e-9)
    assert list(scored.probabilities.argmax(axis=1)) == [0, 1, 2]


def test_reading_is_better_than_being_taught_and_that_than_nothing(
    pairs: AnsweredComplaints, labels: list[Severity]
) -> None:
    losses = []
    for responses in ("read", "teach", "ignored"):
        measures = LinearAnnotator.fit(pairs, labels, LinearSettings(responses=responses)).measures
        assert measures is not None
        losses.append(measures.log_loss)
    assert losses == sorted(losses)


def test_lone_complaints_are_scored_by_a_taught_annotator_but_not_read(
    fitted: LinearAnnotator, pairs: AnsweredComplaints
) -> None:
    lone = [TYPICAL[Severity.CRITICAL][0]]
    if fitted.settings.responses == "teach":
        assert not fitted.reads_responses
        with_one = AnsweredComplaints(lone, [DOCTORS[Severity.NEUTRAL]])
        assert fitted.score(lone).probabilities.shape == (1, 3)
        assert np.array_equal(
            fitted.score(lone).probabilities, fitted.score(with_one).probabilities
        )
        return
    assert fitted.reads_responses
    for out_of_fold in (True, False):
        with pytest.raises(DataError, match="needs the doctors' responses"):
            fitted.score(lone, out_of_fold=out_of_fold)
        with pytest.raises(DataError, match="row 151: the complaint has no response"):
            fitted.score(
                AnsweredComplaints([*pairs, *lone], [*pairs.responses, ""]), out_of_fold=out_of_fold
            )


@pytest.mark.parametrize("settings", [TEACH, READ], ids=["teach", "read"])
def test_rows_without_responses_cannot_be_fitted_on(
    settings: LinearSettings, pairs: AnsweredComplaints, labels: list[Severity]
) -> None:
    with pytest.raises(DataError, match="needs the doctors' responses"):
        LinearAnnotator.fit(list(pairs), labels, settings)
    some = with_responses(pairs, np.asarray([6, 70]), " ")
    with pytest.raises(DataError, match="row 7: the complaint has no response"):
        LinearAnnotator.fit(some, labels, settings)


def test_too_few_rows_to_teach_by_say_so() -> None:
    rows = answered_rows(15)
    with pytest.raises(DataError, match=r"responses=teach.*4 labelled complaints are .*5 folds"):
        LinearAnnotator.fit(AnsweredComplaints.of(rows), labels_of(rows), TEACH)


def labels_of(rows: list[Consultation]) -> list[Severity]:
    return [one.labelled_severity for one in rows if one.labelled_severity is not None]


def test_a_saved_annotator_scores_bit_for_bit_the_same(
    fitted: LinearAnnotator, pairs: AnsweredComplaints, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "annotator")
    loaded = load_annotator(tmp_path / "annotator")
    new = AnsweredComplaints([*TYPICAL[Severity.CRITICAL], *pairs], ["advice2 x"] * 160)
    for out_of_fold in (True, False):
        before, after = (one.score(new, out_of_fold=out_of_fold) for one in (fitted, loaded))
        assert before.probabilities.tobytes() == after.probabilities.tobytes()
    assert loaded.signature() == fitted.signature()
    assert loaded.reads_responses == fitted.reads_responses
    again = LinearAnnotator.load(tmp_path / "annotator")
    again.save(tmp_path / "again")
    for file in (tmp_path / "annotator").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
        assert not any(text.encode() in file.read_bytes() for text in pairs.responses)


def test_a_folder_without_the_n_grams_of_responses_is_damaged(
    pairs: AnsweredComplaints, labels: list[Severity], tmp_path: Path
) -> None:
    LinearAnnotator.fit(pairs, labels, READ).save(tmp_path / "annotator")
    (tmp_path / "annotator" / "response-vocabulary.json").unlink()
    with pytest.raises(ModelError, match=r"response-vocabulary\.json"):
        load_annotator(tmp_path / "annotator")


def test_the_signature_names_the_responses_where_they_count(
    fitted: LinearAnnotator, pairs: AnsweredComplaints, labels: list[Severity]
) -> None:
    signature = fitted.signature()
    assert signature["settings"]["responses"] == fitted.settings.responses
    changed = with_responses(pairs, np.asarray([3]), "x")
    plans = [LinearAnnotator.plan(rows, labels, fitted.settings) for rows in (pairs, changed)]
    assert plans[0]["responses_sha256"] == signature["responses_sha256"]
    assert plans[0]["responses_sha256"] != plans[1]["responses_sha256"]
    assert plans[0]["rows_sha256"] == plans[1]["rows_sha256"]
    ignored = [LinearAnnotator.plan(rows, labels, LinearSettings()) for rows in (pairs, changed)]
    assert ignored[0] == ignored[1]
    assert "responses_sha256" not in ignored[0]


@pytest.mark.parametrize("settings", [TEACH, READ], ids=["teach", "read"])
def test_whole_annotators_are_fitted_for_each_fold(settings: LinearSettings) -> None:
    rows = LabelledRows.of(answered_rows(), 0.7)
    settings = settings.model_copy(update={"folds": 3})
    found = predict_held_out(rows, settings, nested=True, work=NO_WORK)
    assert (found.probabilities.argmax(axis=1) == rows.classes).mean() > 0.5
    assert found.signature["responses_sha256"]


@pytest.mark.parametrize("responses", ["teach", "read"])
def test_an_ensemble_passes_the_responses_on(
    responses: str, pairs: AnsweredComplaints, labels: list[Severity], tmp_path: Path
) -> None:
    settings = EnsembleSettings.model_validate(
        {
            "members": [{"kind": "lexicon"}, {"kind": "linear", "responses": responses}],
            "folds": 3,
        }
    )
    ensemble = EnsembleAnnotator.fit(pairs, labels, settings)
    assert ensemble.signature()["responses_sha256"]
    ensemble.save(tmp_path / "ensemble")
    loaded = load_annotator(tmp_path / "ensemble")
    lone = [TYPICAL[Severity.CRITICAL][0]]
    new = AnsweredComplaints(lone, ["advice2"])
    assert ensemble.score(new).probabilities.tobytes() == loaded.score(new).probabilities.tobytes()
    assert loaded.reads_responses == (responses == "read")
    if responses == "teach":
        assert loaded.score(lone).probabilities.shape == (1, 3)
        return
    with pytest.raises(DataError, match="needs the doctors' responses"):
        loaded.score(lone)
