"""What a label asks of the logits."""

from __future__ import annotations

import torch
from torch import Tensor

from tarjih.records import SEVERITIES
from tarjih.severity.calibration import Integers
from tarjih.severity.encoder.settings import EncoderSettings

_CLASSES = len(SEVERITIES)


class Objective:
    """Cross-entropy with soft targets: mean over rows of -w[y] sum_k t[y, k] log softmax(z)[k].

    t[y] is 1 at y; or, for the ordinal objective, proportional to exp(-sharpness (k - y)^2) (Diaz &
    Marathe, "Soft Labels for Ordinal Regression", CVPR 2019). Label smoothing s makes it
    (1 - s) t[y] + s / 3 (Szegedy et al. 2016). w[y] is 1, or n / (3 n_y): then the mean of w over
    the n rows is 1, and the three severities have equal sums.

    Attributes:
        targets: (3, 3) float32, row y for label y, rows summing to 1.
        weights: (3,) float32.

    Args:
        classes: (n,) labels of the rows that are fitted; each severity is among them.
        settings: which targets and weights.
    """

    def __init__(self, classes: Integers, settings: EncoderSettings) -> None:
        steps = torch.arange(_CLASSES, dtype=torch.float64)
        sure = torch.eye(_CLASSES, dtype=torch.float64)
        if settings.objective == "ordinal":
            distances = (steps[:, None] - steps[None, :]) ** 2
            sure = torch.softmax(-settings.ordinal_sharpness * distances, dim=1)
        smoothing = settings.label_smoothing
        self.targets = ((1 - smoothing) * sure + smoothing / _CLASSES).float()
        self.weights = torch.ones(_CLASSES)
        if settings.class_weights == "balanced":
            counts = torch.bincount(torch.from_numpy(classes), minlength=_CLASSES)
            self.weights = len(classes) / (_CLASSES * counts.double()).float()

    def loss(self, logits: Tensor, classes: Tensor) -> Tensor:
        """The mean over a batch, in nats: logits (b, 3), classes (b,) -> a float32 number."""
        targets = self.targets.to(logits.device)[classes]
        weights = self.weights.to(logits.device)[classes]
        of_rows = -(targets * torch.log_softmax(logits.float(), dim=1)).sum(dim=1)
        return (weights * of_rows).mean()
