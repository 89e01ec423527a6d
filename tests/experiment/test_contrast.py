"""Conditions that ask how much contrast is needed: sharper, hard, and people's own severities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_world import config_of
from tarjih.experiment.inputs import make_inputs
from tarjih.experiment.run import run_experiment
from tarjih.progress import SILENT
from tarjih.records import SEVERITIES, Consultation

BALANCED = {"alpha": 0.5, "beta": 1.0, "gamma": 1.5}
FACTORS = np.array([0.5, 1.0, 1.5])


def probabilities(consultations: list[Consultation]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([one.probabilities.as_tuple() for one in consultations if one.probabilities])


def test_each_condition_gets_the_weights_that_its_name_promises(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    config = config_of(
        plan,
        training__max_steps=1,
        conditions=[
            {"sharpened": {**BALANCED, "sharpness": 3}},
            {"hard": {**BALANCED, "severity": "hard"}},
            {"oracle": {**BALANCED, "severity": "labelled"}},
        ],
    )
    results = run_experiment(config, tmp_path)
    assert [record.status for record in results.records] == ["done"] * 3
    inputs = make_inputs(config, tmp_path, SILENT)
    p = probabilities(inputs.train)
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    labels = [SEVERITIES.index(one.labelled_severity or SEVERITIES[0]) for one in inputs.train]
    expected = {
        "sharpened": sharp @ FACTORS,
        "hard": FACTORS[p.argmax(axis=1)],
        "oracle": FACTORS[labels],
    }
    for record in results.records:
        assert record.weights is not None
        weights = expected[record.condition]
        assert record.weights.mean == pytest.approx(weights.mean())
        assert record.weights.standard_deviation == pytest.approx(weights.std())
        assert record.weights.maximum == pytest.approx(weights.max())
        assert sum(record.weights.gradient_share_by_severity.values()) == pytest.approx(1)
        assert record.signature["weighting"]["severity"] in ("predicted", "hard", "labelled")
