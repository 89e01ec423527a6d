"""Three ways to turn held-out logits into probabilities, and which of them a data set calls for.

- temperature: softmax(z / T), one number (Guo et al. 2017).
- vector: softmax(a * z + b), a scale and a bias for each severity (Guo et al. 2017); it can also
  mend a severity that is called too often.
- isotonic: for each severity the monotone step function of its probability that fits the labels
  best, divided by their sum (Zadrozny & Elkan 2002); it can bend, and needs the most rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from tarjih.severity.calibration import (
    Floats,
    Integers,
    apply_temperature,
    fit_temperature,
    log_loss,
    log_softmax,
    softmax,
)

CalibratorKind = Literal["temperature", "vector", "isotonic"]
KINDS: tuple[CalibratorKind, ...] = ("temperature", "vector", "isotonic")
_CLASSES = 3
# Of n rows: no severity is less likely than it would be of one row more.
_PRIOR_ROWS = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Calibrator:
    """A fitted calibrator.

    Attributes:
        kind: which of the three.
        parameters: (k, 3) float64. temperature: k = 1, T three times; vector: k = 2, scales and
            biases; isotonic: k = 2 * m, for each severity m probabilities in ascending order, and
            below them what they become.
    """

    kind: CalibratorKind
    parameters: Floats

    @classmethod
    def of(cls, kind: str, parameters: Floats) -> Calibrator:
        """A calibrator as it was kept.

        Raises:
            ValueError: when there is no such kind, or the parameters have another shape or are not
                numbers that it can have.
        """
        shape = parameters.shape
        rows = {"temperature": shape[:1] == (1,), "vector": shape[:1] == (2,)}
        fits = rows.get(kind, len(parameters) > 0 and len(parameters) % 2 == 0)
        if kind not in KINDS or shape[1:] != (_CLASSES,) or not fits:
            raise ValueError(f"no calibrator is {kind} with parameters {shape}")
        if not np.isfinite(parameters).all() or (kind == "temperature" and parameters.min() <= 0):
            raise ValueError(f"the parameters of the {kind} calibrator are not usable numbers")
        return cls(kind, parameters)

    def apply(self, logits: Floats) -> Floats:
        """Probabilities (n, 3), rows summing to 1, of logits (n, 3)."""
        if self.kind == "temperature":
            return apply_temperature(logits, float(self.parameters[0, 0]))
        if self.kind == "vector":
            return softmax(logits * self.parameters[0] + self.parameters[1])
        points, values = np.split(self.parameters, 2)
        plain = softmax(logits)
        bent = np.stack(
            [np.interp(plain[:, k], points[:, k], values[:, k]) for k in range(_CLASSES)], axis=1
        )
        return np.asarray(bent / bent.sum(axis=1, keepdims=True), dtype=np.float64)


def fit_calibrator(kind: CalibratorKind, logits: Floats, classes: Integers) -> Calibrator:
    """Fit one kind on logits (n, 3) of rows that the scorer was not fitted on.

    Raises:
        ValueError: when the shapes do not fit or a logit is not finite.
    """
    temperature = fit_temperature(logits, classes)
    if kind == "temperature":
        return Calibrator(kind, np.full((1, _CLASSES), temperature))
    if kind == "vector":
        return Calibrator(kind, _fit_vector(logits, classes, temperature))
    return Calibrator(kind, _fit_isotonic(softmax(logits), classes))


def _fit_vector(logits: Floats, classes: Integers, temperature: float) -> Floats:
    # A ridge that one row would outweigh keeps what the rows leave open: the biases' common shift.
    start = np.concatenate([np.full(_CLASSES, 1 / temperature), np.zeros(_CLASSES)])
    rows = np.arange(len(classes))
    labels = np.eye(_CLASSES)[classes]

    def loss(values: Floats) -> tuple[float, Floats]:
        scales, biases = values[:_CLASSES], values[_CLASSES:]
        scaled = logits * scales + biases
        error = softmax(scaled) - labels
        ridge = _PRIOR_ROWS * (values - start)
        value = -log_softmax(scaled)[rows, classes].sum() + 0.5 * float(ridge @ (values - start))
        return float(value), np.concatenate([(error * logits).sum(0), error.sum(0)]) + ridge

    found = minimize(loss, start, jac=True, method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64).reshape(2, _CLASSES)


def _fit_isotonic(probabilities: Floats, classes: Integers) -> Floats:
    # As many points for each severity: the steps of all three, read at common ranks.
    count = min(len(classes), 200)
    points = np.quantile(probabilities, np.linspace(0, 1, count), axis=0)
    columns = []
    for k in range(_CLASSES):
        isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        isotonic.fit(probabilities[:, k], (classes == k).astype(np.float64))
        columns.append(isotonic.predict(points[:, k]))
    n = len(classes)
    values = (np.stack(columns, axis=1) * n + _PRIOR_ROWS / _CLASSES) / (n + _PRIOR_ROWS)
    return np.concatenate([points, values])


def held_out_calibration(
    logits: Floats, classes: Integers, parts: Sequence[tuple[Integers, Integers]]
) -> tuple[CalibratorKind, Floats]:
    """The kind with the lowest log loss on rows that it was not fitted on, and its probabilities.

    Args:
        logits: (n, 3), each row from a scorer that did not see it.
        classes: (n,) labels.
        parts: (rows to fit on, rows held out) of each fold.

    Returns:
        The kind, and (n, 3) probabilities, each row's from a calibrator that did not see it. Of
        equally good kinds the first of `KINDS`, the simplest.
    """
    probabilities: dict[CalibratorKind, Floats] = {}
    for kind in KINDS:
        found = np.zeros_like(logits)
        for fitted, held_out in parts:
            calibrator = fit_calibrator(kind, logits[fitted], classes[fitted])
            found[held_out] = calibrator.apply(logits[held_out])
        probabilities[kind] = found
    loss = {kind: log_loss(found, classes) for kind, found in probabilities.items()}
    best = min(KINDS, key=lambda kind: round(loss[kind], 9))  # rounding errors are no difference
    return best, probabilities[best]
