"""Temperature scaling, and how far stated probabilities are from observed frequencies.

A classifier's logits z give probabilities softmax(z / T). One number T, fitted on rows that the
classifier did not see, corrects over-confidence (T > 1) or under-confidence (T < 1) and leaves the
most likely severity as it is (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LOWEST_TEMPERATURE = 0.01
HIGHEST_TEMPERATURE = 100.0
# A probability of exactly 0 would make the log loss infinite; scikit-learn clips at the same value.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


def softmax(logits: npt.ArrayLike) -> Floats:
    """Softmax over the last axis, in float64; finite for every finite input."""
    values = np.asarray(logits, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float64)


def log_softmax(logits: npt.ArrayLike) -> Floats:
    """Logarithm of the softmax over the last axis, in float64, without taking log(0)."""
    values = np.asarray(logits, dtype=np.float64)
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(
        shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float64
    )


def apply_temperature(logits: npt.ArrayLike, temperature: float) -> Floats:
    """softmax(logits / temperature), shape unchanged.

    Raises:
        ValueError: when the temperature is not a positive number.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"a temperature is a positive number, not {temperature}")
    return softmax(np.asarray(logits, dtype=np.float64) / temperature)


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The temperature in [0.01, 100] with the lowest mean log loss.

    The log loss is convex in 1/T and so has a single valley in log T, which a bounded search finds.
    Logits that mislead on the whole end at the upper bound: at almost uniform probabilities.

    Args:
        logits: (n, classes), n >= 1, of rows that the classifier was not fitted on.
        labels: (n,) indices of the true classes.

    Raises:
        ValueError: when the shapes do not fit or a logit is not finite.
    """
    scores = np.asarray(logits, dtype=np.float64)
    classes = np.asarray(labels, dtype=np.int64)
    if scores.ndim != 2 or classes.shape != scores.shape[:1] or len(classes) == 0:
        raise ValueError(f"logits {scores.shape} and labels {classes.shape} do not belong together")
    if not np.isfinite(scores).all():
        raise ValueError("a logit is not a finite number")
    rows = np.arange(len(classes))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(scores / np.exp(log_temperature))[rows, classes].mean())

    found = minimize_scalar(
        loss,
        bounds=(np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(np.exp(found.x))


def log_loss(probabilities: Floats, classes: Integers) -> float:
    """Mean -log p(class) in nats, over probabilities (n, classes) and classes (n,), n >= 1."""
    of_class = probabilities[np.arange(len(classes)), classes]
    return float(-np.log(np.clip(of_class, SMALLEST_PROBABILITY, 1.0)).mean())


def expected_calibration_error(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = 15
) -> float:
    """Expected calibration error of the most likely class, in [0, 1]; 0 is best.

    Rows are put into `bins` bins of equal width by their highest probability c: bin b takes
    c in (b / bins, (b + 1) / bins]. The error is sum_b (n_b / n) |accuracy_b - mean confidence_b|
    (Naeini et al. 2015; Guo et al. 2017). Of equal probabilities the later class counts as the
    predicted one, as in `SeverityDistribution.most_likely`.

    Args:
        probabilities: (n, classes), rows summing to 1, n >= 1.
        labels: (n,) indices of the true classes.
        bins: number of bins, at least 1.

    Raises:
        ValueError: when the shapes do not fit or there is no bin.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    classes = np.asarray(labels, dtype=np.int64)
    if values.ndim != 2 or classes.shape != values.shape[:1] or len(classes) == 0 or bins < 1:
        raise ValueError(f"probabilities {values.shape}, labels {classes.shape} and {bins} bins")
    confidence = values.max(axis=1)
    correct = (most_likely(values) == classes).astype(np.float64)
    of_row = confidence_bins(confidence, bins)
    gaps = np.bincount(of_row, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(classes))


def confidence_bins(confidence: Floats, bins: int) -> Integers:
    """(n,) which of `bins` bins each probability is in; bin b is (b / bins, (b + 1) / bins]."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def most_likely(probabilities: Floats) -> Integers:
    """Index of the highest probability of each row; of equals the last, the more severe one.

    Args:
        probabilities: (n, classes).

    Returns:
        (n,) indices.
    """
    last = probabilities.shape[1] - 1
    return np.asarray(last - probabilities[:, ::-1].argmax(axis=1), dtype=np.int64)
