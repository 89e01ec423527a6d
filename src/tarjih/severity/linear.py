"""Character n-grams and a multinomial logistic regression: small, fast, and hard to beat here.

Arabic complaints mix standard language with dialects that nobody spells alike, so pieces of words
carry over where whole words do not. On 2,820 posts labelled by people it is right in 48 % of the
cases, within three points of fine-tuned encoders (`benchmarks/severity_linear.py`).

A doctor's response often says how severe the complaint is. An annotator of training pairs may read
it too (`responses: read`). One of complaints alone can still be taught by one that read the
responses of the labelled rows (`responses: teach`): what only the teacher sees is privileged
information (Vapnik & Izmailov 2015), and passes to the student as softened targets (Lopez-Paz et
al., "Unifying distillation and privileged information", 2016).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tarjih.arabic.normalise import comparison_key
from tarjih.errors import DataError, WorkFailedError
from tarjih.files import read_json, write_json
from tarjih.records import SEVERITIES
from tarjih.severity.annotator import NO_WORK, AnnotatorSettings, Work
from tarjih.severity.answered import responses_of, rows_of
from tarjih.severity.calibration import Floats, Integers, fit_temperature, softmax
from tarjih.severity.cross_fitted import CrossFittedAnnotator, CrossFittedSettings
from tarjih.severity.folds import grouped_folds, near_duplicate_groups

TENSORS = "tensors.safetensors"
# Of the n-grams of complaints, and of responses where they are read.
VOCABULARIES = ("vocabulary.json", "response-vocabulary.json")


class LinearSettings(CrossFittedSettings):
    """Settings of the n-gram annotator."""

    kind: Literal["linear"] = Field("linear", description="which annotator reads the complaints")
    analyzer: Literal["char_wb", "char", "word"] = Field(
        "char_wb",
        description="n-grams of characters within words (char_wb) or across (char), or of words",
    )
    shortest_ngram: int = Field(2, ge=1, le=10, description="characters (or words)")
    longest_ngram: int = Field(5, ge=1, le=10, description="characters (or words)")
    min_complaints: int = Field(
        2, ge=1, description="complaints that an n-gram must occur in to count (min_df)"
    )
    max_share: float = Field(
        1.0, gt=0, le=1, description="share of the complaints above which an n-gram is dropped"
    )
    max_ngrams: int | None = Field(
        None, ge=1, description="keep only so many n-grams, the most frequent; null keeps all"
    )
    inverse_regularisation: float = Field(
        0.5, gt=0, description="C of the logistic regression; smaller is smoother"
    )
    max_iterations: int = Field(1000, ge=1, description="iterations of the solver (L-BFGS)")
    responses: Literal["ignored", "teach", "read"] = Field(
        "ignored",
        description="what the doctors' responses are for: nothing; teach an annotator that reads "
        "complaints alone; or be read beside each complaint, which must then have one",
    )
    teacher_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="of responses=teach: the targets are so much the probabilities of a teacher "
        "that read the response, and for the rest the label",
    )

    @property
    def learns_from_responses(self) -> bool:
        """Whether it is fitted on complaints with their responses."""
        return self.responses != "ignored"

    @property
    def reads_responses(self) -> bool:
        """Whether it can only score complaints with their responses."""
        return self.responses == "read"

    @model_validator(mode="after")
    def _shortest_is_not_longer(self) -> Self:
        if self.shortest_ngram > self.longest_ngram:
            raise ValueError(
                f"shortest_ngram ({self.shortest_ngram}) is above "
                f"longest_ngram ({self.longest_ngram})"
            )
        return self


class NgramScorer:
    """logits = features @ coefficients.T + intercept; see `features`.

    Args:
        settings: which n-grams of which texts.
        vocabularies: for each text its n-grams in the order of the columns, v in all.
        idf: (v,) inverse document frequencies.
        coefficients: (3, v).
        intercept: (3,).

    Raises:
        ValueError: when the shapes do not fit.
    """

    def __init__(
        self,
        settings: LinearSettings,
        vocabularies: Sequence[Sequence[str]],
        idf: Floats,
        coefficients: Floats,
        intercept: Floats,
    ) -> None:
        classes, ngrams = len(SEVERITIES), sum(map(len, vocabularies))
        if coefficients.shape != (classes, ngrams) or intercept.shape != (classes,):
            raise ValueError(f"{ngrams} n-grams, coefficients {coefficients.shape}")
        if idf.shape != (ngrams,):
            raise ValueError(f"{ngrams} n-grams, idf {idf.shape}")
        self._settings = settings
        self._vocabularies = [list(one) for one in vocabularies]
        self._idf = idf
        self._coefficients = coefficients
        self._intercept = intercept
        self._vectorisers = [_vectoriser(settings, one) for one in vocabularies]
        ends = np.cumsum([len(one) for one in vocabularies])[:-1]
        for vectoriser, part in zip(self._vectorisers, np.split(idf, ends), strict=True):
            vectoriser.idf_ = part

    def features(self, complaints: Sequence[str]) -> sparse.csr_matrix:
        """(n, v): tfidf of each folded complaint and, where responses are read, of its response.

        Each has n-grams of its own: the same words mean another thing when a doctor says them.

        Raises:
            DataError: when a response is missing that is to be read.
        """
        texts = _texts(complaints, self._settings)
        parts = [one.transform(keys) for one, keys in zip(self._vectorisers, texts, strict=True)]
        return sparse.hstack(parts, format="csr")

    def logits(self, complaints: Sequence[str]) -> Floats:
        """See `Scorer.logits`."""
        logits = self.features(complaints) @ self._coefficients.T + self._intercept
        return np.asarray(logits, dtype=np.float64)

    def write(self, folder: Path) -> None:
        """Write `tensors.safetensors` and a vocabulary for each text."""
        tensors = {
            "idf": self._idf,
            "coefficients": self._coefficients,
            "intercept": self._intercept,
        }
        save_file(tensors, folder / TENSORS)
        for name, vocabulary in zip(VOCABULARIES, self._vocabularies, strict=False):
            write_json(folder / name, vocabulary)

    @classmethod
    def read(cls, folder: Path, settings: LinearSettings) -> Self:
        """Read what `write` wrote."""
        tensors = load_file(folder / TENSORS)
        names = VOCABULARIES if settings.reads_responses else VOCABULARIES[:1]
        vocabularies = [read_json(folder / name) for name in names]
        arrays = (tensors[name] for name in ("idf", "coefficients", "intercept"))
        return cls(settings, vocabularies, *arrays)


class LinearAnnotator(CrossFittedAnnotator[LinearSettings]):
    """TF-IDF of n-grams and a multinomial logistic regression."""

    kind: ClassVar[str] = "linear"
    settings_class: ClassVar[type[AnnotatorSettings]] = LinearSettings

    @classmethod
    def fit_scorer(
        cls, complaints: Sequence[str], classes: Integers, settings: LinearSettings, work: Work
    ) -> NgramScorer:
        """Fit vocabularies, frequencies and coefficients.

        Raises:
            DataError: when no n-gram occurs often enough, or too few rows are left to teach by.
            WorkFailedError: when the solver does not converge.
        """
        del work  # seconds need no checkpoints
        targets = np.eye(len(SEVERITIES))[classes]
        if settings.responses == "teach":
            taught = teacher_probabilities(complaints, classes, settings)
            targets = (1 - settings.teacher_share) * targets + settings.teacher_share * taught
        vectorisers, regression = _fit_model(_texts(complaints, settings), targets, settings)
        return NgramScorer(
            settings,
            [[str(ngram) for ngram in one.get_feature_names_out()] for one in vectorisers],
            np.concatenate([np.asarray(one.idf_, dtype=np.float64) for one in vectorisers]),
            np.ascontiguousarray(regression.coef_, dtype=np.float64),
            np.ascontiguousarray(regression.intercept_, dtype=np.float64),
        )

    @classmethod
    def read_scorer(cls, folder: Path, settings: LinearSettings) -> NgramScorer:
        """See `CrossFittedAnnotator.read_scorer`."""
        return NgramScorer.read(folder, settings)


def teacher_probabilities(
    complaints: Sequence[str], classes: Integers, settings: LinearSettings
) -> Floats:
    """(n, 3) what annotators that read responses, and did not see a row, say of it.

    They are cross-fitted within these rows, on folds that keep near-duplicates together, and made
    probabilities by one temperature: a teacher that had seen the label would only repeat it.

    Raises:
        DataError: when a response is missing, or the rows do not suffice for the folds.
    """
    teacher = settings.model_copy(update={"responses": "read"})
    keys = [comparison_key(complaint) for complaint in complaints]
    groups = near_duplicate_groups(keys, settings.near_duplicate_similarity)
    labels = [SEVERITIES[int(index)] for index in classes]
    try:
        parts = grouped_folds(labels, groups, folds=settings.folds, seed=settings.seed)
    except DataError as error:
        raise DataError(
            f"with responses=teach, each fold's rows are dealt into folds again, and "
            f"there {error.what}",
            remedy=error.remedy,
        ) from None
    logits = np.zeros((len(classes), len(SEVERITIES)))
    for fitted, held_out in parts:
        scorer = LinearAnnotator.fit_scorer(
            rows_of(complaints, fitted), classes[fitted], teacher, NO_WORK
        )
        logits[held_out] = scorer.logits(rows_of(complaints, held_out))
    return softmax(logits / fit_temperature(logits, classes))


def _texts(complaints: Sequence[str], settings: LinearSettings) -> list[list[str]]:
    read = [complaints, responses_of(complaints)] if settings.reads_responses else [complaints]
    return [[comparison_key(text) for text in texts] for texts in read]


def _fit_model(
    texts: Sequence[Sequence[str]], targets: Floats, settings: LinearSettings
) -> tuple[list[TfidfVectorizer], LogisticRegression]:
    """Minimise the sum of -targets * log p, with a ridge, on the n-grams of folded texts.

    Args:
        texts: n folded complaints and, where they are read, n folded responses.
        targets: (n, 3), rows summing to 1.
        settings: of the annotator.
    """
    vectorisers = [_vectoriser(settings) for _ in texts]
    try:
        parts = [one.fit_transform(keys) for one, keys in zip(vectorisers, texts, strict=True)]
    except ValueError:  # scikit-learn's way to say that the vocabulary is empty
        raise DataError(
            f"no n-gram occurs in {settings.min_complaints} complaints and in at most "
            f"{settings.max_share:.0%} of them",
            remedy="give more complaints, or lower min_complaints, or raise max_share",
        ) from None
    features = sparse.hstack(parts, format="csr")
    regression = LogisticRegression(
        C=settings.inverse_regularisation, max_iter=settings.max_iterations
    )
    # A row of soft targets is one row for each severity, weighted by its share.
    rows, classes = np.nonzero(targets)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            regression.fit(features[rows], classes, sample_weight=targets[rows, classes])
        except ConvergenceWarning:
            raise WorkFailedError(
                f"the logistic regression did not converge in {settings.max_iterations} "
                "iterations: lower inverse_regularisation or raise max_iterations"
            ) from None
    return vectorisers, regression


def _vectoriser(
    settings: LinearSettings, vocabulary: Sequence[str] | None = None
) -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer=settings.analyzer,
        ngram_range=(settings.shortest_ngram, settings.longest_ngram),
        min_df=settings.min_complaints,
        max_df=settings.max_share,
        max_features=settings.max_ngrams,
        sublinear_tf=True,
        lowercase=False,  # the comparison key is folded already
        vocabulary=vocabulary,
    )
