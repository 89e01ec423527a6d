from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.utils.class_weight import compute_class_weight

from severity.encoder.conftest import MakeSettings
from tarjih.severity.encoder.objective import Objective

CLASSES = np.array([0, 0, 0, 0, 1, 1, 2], dtype=np.int64)


def naive(logits: Any, classes: Any, targets: Any, weights: Any) -> float:
    """mean of -w[y] sum_k t[y, k] log softmax(z)[k], in float64, a row at a time."""
    terms = [
        -weights[y] * sum(targets[y][k] * log_softmax(z)[k] for k in range(3))
        for z, y in zip(logits.astype(np.float64), classes, strict=True)
    ]
    return math.fsum(terms) / len(terms)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("objective", ["cross_entropy", "ordinal"])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_the_loss_is_its_equation(
    smoothing: float, objective: str, class_weights: str, make_settings: MakeSettings
) -> None:
    settings = make_settings(
        label_smoothing=smoothing,
        objective=objective,
        ordinal_sharpness=0.8,
        class_weights=class_weights,
    )
    logits = np.random.default_rng(0).normal(size=(7, 3), scale=3).astype(np.float32)
    sure = np.eye(3)
    if objective == "ordinal":
        shares = np.exp(-0.8 * (np.arange(3)[:, None] - np.arange(3)[None, :]) ** 2)
        sure = shares / shares.sum(axis=1, keepdims=True)
    targets = (1 - smoothing) * sure + smoothing / 3
    weights = np.ones(3)
    if class_weights == "balanced":
        weights = compute_class_weight("balanced", classes=np.arange(3), y=CLASSES)
    found = Objective(CLASSES, settings).loss(torch.from_numpy(logits), torch.from_numpy(CLASSES))
    assert float(found) == pytest.approx(naive(logits, CLASSES, targets, weights), rel=1e-6)


def test_the_default_is_cross_entropy(make_settings: MakeSettings) -> None:
    logits, classes = torch.randn(7, 3), torch.from_numpy(CLASSES)
    found = Objective(CLASSES, make_settings()).loss(logits, classes)
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(logits, classes))
    smooth = Objective(CLASSES, make_settings(label_smoothing=0.1)).loss(logits, classes)
    wanted = torch.nn.functional.cross_entropy(logits, classes, label_smoothing=0.1)
    torch.testing.assert_close(smooth, wanted)


def test_the_ordinal_objective_forgives_a_neighbour(make_settings: MakeSettings) -> None:
    objective = Objective(CLASSES, make_settings(objective="ordinal"))
    labels = torch.tensor([0])
    near, far = torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([[2.0, -1.0, 1.0]])
    assert float(objective.loss(near, labels)) < float(objective.loss(far, labels))
    torch.testing.assert_close(objective.targets.sum(dim=1), torch.ones(3))


def test_balanced_severities_have_equal_sums(make_settings: MakeSettings) -> None:
    weights = Objective(CLASSES, make_settings(class_weights="balanced")).weights[CLASSES]
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    sums = [float(weights[torch.from_numpy(np.equal(CLASSES, k))].sum()) for k in range(3)]
    assert sums == pytest.approx([7 / 3] * 3)


def test_half_precision_logits_are_summed_in_float32(make_settings: MakeSettings) -> None:
    logits = torch.randn(7, 3).bfloat16()
    found = Objective(CLASSES, make_settings()).loss(logits, torch.from_numpy(CLASSES))
    assert found.dtype == torch.float32
