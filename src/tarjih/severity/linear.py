"""Character n-grams and a multinomial logistic regression: small, fast, and hard to beat here.

Arabic complaints mix standard language with dialects that nobody spells alike, so pieces of words
carry over where whole words do not. On 2,820 posts labelled by people it is right in 49 % of the
cases, within three points of fine-tuned encoders (`benchmarks/severity_linear.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import sklearn
from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tarjih import __version__
from tarjih.arabic.normalise import comparison_key
from tarjih.data.duplicates import Fingerprints, find_groups
from tarjih.errors import DataError, SettingsError, WorkFailedError
from tarjih.files import atomic_folder, read_json, sha256_of, write_json
from tarjih.records import SEVERITIES, Severity
from tarjih.settings import make_settings
from tarjih.severity.annotator import (
    MANIFEST,
    Annotator,
    AnnotatorSettings,
    ScoredComplaints,
    check_annotator_folder,
    damaged,
    read_manifest,
    write_manifest,
)
from tarjih.severity.calibration import Floats, Integers, apply_temperature, fit_temperature
from tarjih.severity.folds import OutOfFold, grouped_folds, hash_keys
from tarjih.severity.measures import SeverityMeasures, measure, severity_indices

TENSORS = "tensors.safetensors"
VOCABULARY = "vocabulary.json"


class LinearSettings(AnnotatorSettings):
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
    folds: int = Field(5, ge=2, description="folds that calibrate and score the labelled rows")
    near_duplicate_similarity: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Jaccard similarity of 6-character shingles from which complaints stay in "
        "one fold",
    )
    seed: int = Field(0, ge=0, description="of the shuffle into folds")

    @model_validator(mode="after")
    def _shortest_is_not_longer(self) -> Self:
        if self.shortest_ngram > self.longest_ngram:
            raise ValueError(
                f"shortest_ngram ({self.shortest_ngram}) is above "
                f"longest_ngram ({self.longest_ngram})"
            )
        return self


class LinearAnnotator(Annotator[LinearSettings]):
    """TF-IDF of n-grams, multinomial logistic regression, one temperature.

    logits = tfidf(comparison_key(complaint)) @ coefficients.T + intercept
    probabilities = softmax(logits / temperature)

    The temperature is fitted on held-out logits of grouped folds; the coefficients are then fitted
    on all rows. The held-out probabilities are kept, see `Annotator.score`.
    """

    kind: ClassVar[str] = "linear"
    settings_class: ClassVar[type[AnnotatorSettings]] = LinearSettings

    def __init__(
        self,
        *,
        settings: LinearSettings,
        vocabulary: Sequence[str],
        idf: Floats,
        coefficients: Floats,
        intercept: Floats,
        temperature: float,
        held_out: OutOfFold,
        signature: dict[str, Any],
        measures: SeverityMeasures | None,
    ) -> None:
        """Put the parts together; see `fit` and `load`.

        Args:
            settings: what it was fitted with.
            vocabulary: v n-grams in the order of the columns.
            idf: (v,) inverse document frequencies.
            coefficients: (3, v).
            intercept: (3,).
            temperature: positive.
            held_out: probabilities of the labelled complaints.
            signature: see `signature`.
            measures: see `measures`.

        Raises:
            ValueError: when the shapes do not fit.
        """
        classes = len(SEVERITIES)
        if coefficients.shape != (classes, len(vocabulary)) or intercept.shape != (classes,):
            raise ValueError(f"{len(vocabulary)} n-grams, coefficients {coefficients.shape}")
        self.settings = settings
        self.temperature = temperature
        self._vectoriser = _vectoriser(settings, vocabulary)
        self._vectoriser.idf_ = idf
        self._coefficients = coefficients
        self._intercept = intercept
        self._held_out = held_out
        self._signature = signature
        self._measures = measures

    @classmethod
    def fit(
        cls, complaints: Sequence[str], labels: Sequence[Severity], settings: LinearSettings
    ) -> Self:
        """Fit, calibrate and keep the held-out probabilities; deterministic by `settings.seed`.

        Raises:
            DataError: when a severity is missing, there are fewer rows than folds, or no n-gram
                occurs often enough.
            WorkFailedError: when the solver does not converge.
        """
        keys = [comparison_key(complaint) for complaint in complaints]
        logits = _held_out_logits(keys, labels, near_duplicate_groups(keys, settings), settings)
        temperature = fit_temperature(logits, severity_indices(labels))
        probabilities = apply_temperature(logits, temperature)
        vectoriser, regression = _fit_model(keys, severity_indices(labels), settings)
        return cls(
            settings=settings,
            vocabulary=[str(ngram) for ngram in vectoriser.get_feature_names_out()],
            idf=np.asarray(vectoriser.idf_, dtype=np.float64),
            coefficients=np.ascontiguousarray(regression.coef_, dtype=np.float64),
            intercept=np.ascontiguousarray(regression.intercept_, dtype=np.float64),
            temperature=temperature,
            held_out=OutOfFold.of(keys, probabilities),
            signature=_signature(keys, labels, settings, temperature),
            measures=measure(probabilities, labels, out_of_fold_rows=len(labels)),
        )

    def score(self, complaints: Sequence[str], *, out_of_fold: bool = True) -> ScoredComplaints:
        """See `Annotator.score`.

        A complaint is known when its comparison key is. A near-duplicate with another key is not:
        it is scored by the final model, which has seen its twin.
        """
        if not complaints:
            return ScoredComplaints(np.zeros((0, len(SEVERITIES))), ())
        keys = [comparison_key(complaint) for complaint in complaints]
        logits = self._vectoriser.transform(keys) @ self._coefficients.T + self._intercept
        probabilities = apply_temperature(logits, self.temperature)
        if not out_of_fold:
            return ScoredComplaints(probabilities, (False,) * len(keys))
        known, held_out = self._held_out.find(keys)
        probabilities[known] = held_out
        return ScoredComplaints(probabilities, tuple(bool(row) for row in known))

    def signature(self) -> dict[str, Any]:
        """See `Annotator.signature`."""
        return dict(self._signature)

    @property
    def measures(self) -> SeverityMeasures | None:
        """Out-of-fold agreement with the labels it was fitted on."""
        return self._measures

    def save(self, folder: Path) -> None:
        """Write `annotator.json`, `tensors.safetensors` and `vocabulary.json`, atomically.

        Raises:
            FolderError: when the folder holds something other than an annotator.
        """
        check_annotator_folder(folder)
        tensors = {
            "idf": np.asarray(self._vectoriser.idf_, dtype=np.float64),
            "coefficients": self._coefficients,
            "intercept": self._intercept,
            "temperature": np.asarray([self.temperature], dtype=np.float64),
            "held_out_hashes": self._held_out.hashes,
            "held_out_probabilities": self._held_out.probabilities,
        }
        with atomic_folder(folder) as temporary:
            save_file(tensors, temporary / TENSORS)
            ngrams = [str(ngram) for ngram in self._vectoriser.get_feature_names_out()]
            write_json(temporary / VOCABULARY, ngrams)
            write_manifest(
                temporary,
                settings=self.settings,
                signature=self._signature,
                measures=self._measures,
            )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; it scores bit for bit as before.

        Raises:
            ModelError: when the folder is not a linear annotator, or is damaged.
        """
        manifest = read_manifest(folder, cls.kind)
        for name in (TENSORS, VOCABULARY):
            if name not in manifest.files:
                raise damaged(folder / MANIFEST, f"it does not list {name}")
        if manifest.signature.get("folding_sha256") != _folding_digest():
            # Else no complaint would be recognised, and in-sample scores pass for held-out ones.
            raise damaged(folder / MANIFEST, "it was fitted with another way to fold spellings")
        try:
            tensors = load_file(folder / TENSORS)
            return cls(
                settings=make_settings(LinearSettings, manifest.settings, folder / MANIFEST),
                vocabulary=read_json(folder / VOCABULARY),
                idf=tensors["idf"],
                coefficients=tensors["coefficients"],
                intercept=tensors["intercept"],
                temperature=float(tensors["temperature"][0]),
                held_out=OutOfFold(tensors["held_out_hashes"], tensors["held_out_probabilities"]),
                signature=manifest.signature,
                measures=manifest.measures,
            )
        except (SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
            raise damaged(folder / TENSORS, str(error)) from None
        except (DataError, SettingsError) as error:
            raise damaged(folder, error.what) from None


def near_duplicate_groups(keys: Sequence[str], settings: LinearSettings) -> list[int]:
    """A group number for each comparison key, shape (n,); near-duplicates share one."""
    if not keys:
        return []
    groups = find_groups(Fingerprints.of(keys), settings.near_duplicate_similarity)
    return [int(group) for group in groups]


def _held_out_logits(
    keys: Sequence[str],
    labels: Sequence[Severity],
    groups: Sequence[int],
    settings: LinearSettings,
) -> Floats:
    # (n, 3): each row from the model whose folds did not hold it, vocabulary and idf included.
    classes = severity_indices(labels)
    logits = np.zeros((len(keys), len(SEVERITIES)))
    for fitted, held_out in grouped_folds(labels, groups, folds=settings.folds, seed=settings.seed):
        vectoriser, regression = _fit_model(
            [keys[row] for row in fitted], classes[fitted], settings
        )
        features = vectoriser.transform([keys[row] for row in held_out])
        logits[held_out] = regression.decision_function(features)
    return logits


def _fit_model(
    keys: Sequence[str], classes: Integers, settings: LinearSettings
) -> tuple[TfidfVectorizer, LogisticRegression]:
    vectoriser = _vectoriser(settings)
    try:
        features = vectoriser.fit_transform(keys)
    except ValueError:  # scikit-learn's way to say that the vocabulary is empty
        raise DataError(
            f"no n-gram occurs in {settings.min_complaints} complaints and in at most "
            f"{settings.max_share:.0%} of them",
            remedy="give more complaints, or lower min_complaints, or raise max_share",
        ) from None
    regression = LogisticRegression(
        C=settings.inverse_regularisation, max_iter=settings.max_iterations
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            regression.fit(features, classes)
        except ConvergenceWarning:
            raise WorkFailedError(
                f"the logistic regression did not converge in {settings.max_iterations} "
                "iterations: lower inverse_regularisation or raise max_iterations"
            ) from None
    return vectoriser, regression


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


def _signature(
    keys: Sequence[str],
    labels: Sequence[Severity],
    settings: LinearSettings,
    temperature: float,
) -> dict[str, Any]:
    return {
        "annotator": LinearAnnotator.kind,
        "tarjih": __version__,
        "scikit_learn": sklearn.__version__,
        "settings": settings.model_dump(mode="json"),
        "folding_sha256": _folding_digest(),
        "rows": len(labels),
        "rows_by_severity": {str(s): sum(label == s for label in labels) for s in SEVERITIES},
        "rows_sha256": sha256_of([hash_keys(keys).tolist(), list(labels)]),
        "temperature": temperature,
    }


def _folding_digest() -> str:
    # What comparison_key makes of ASCII and of the Arabic block, one character at a time.
    points = (*range(0x20, 0x7F), *range(0x0600, 0x0700))
    return sha256_of([comparison_key(f"x{chr(point)}x") for point in points])
