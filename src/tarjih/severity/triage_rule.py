"""What a complaint is called once its probabilities are known: the rule of least expected cost.

Calling the most likely severity is right most often, but counts a critical complaint called
non-critical (under-triage) as one mistake among others. The rule here is that of least expected
cost: C[label][call] says what a call costs, and a penalty is added to the cost of under-triage
alone. Of all rules that make at most so much under-triage, the one with the right penalty costs
least otherwise (the penalty is the Lagrange multiplier of that limit), if the probabilities are
calibrated. The probabilities themselves, and so the weights of training, stay what they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tarjih.records import SEVERITIES, Severity
from tarjih.severity.calibration import Floats, Integers, most_likely

Costs = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
ZERO_ONE: Costs = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0))
_NON_CRITICAL = SEVERITIES.index(Severity.NON_CRITICAL)
_CRITICAL = SEVERITIES.index(Severity.CRITICAL)


def call(probabilities: Floats, costs: Costs, penalty: float) -> Integers:
    """The severity of least expected cost of each complaint; of equals the more severe one.

    Args:
        probabilities: (n, 3), in the order of `records.SEVERITIES`.
        costs: C[label][call], at least 0; no unit.
        penalty: added to the cost of calling a critical complaint non-critical, at least 0;
            infinite calls nothing non-critical.

    Returns:
        (n,) indices into `records.SEVERITIES`.
    """
    called, _ = _second_best(probabilities, costs)
    called[penalties_withstood(probabilities, costs) > penalty] = _NON_CRITICAL
    return called


def penalties_withstood(probabilities: Floats, costs: Costs) -> Floats:
    """(n,) the penalty up to which a complaint is called non-critical.

    Negative where it would not be called so without any; infinite where p_critical is 0.
    """
    _, of_second = _second_best(probabilities, costs)
    gained = of_second - probabilities @ np.array(costs)[:, _NON_CRITICAL]
    critical = probabilities[:, _CRITICAL]
    unbounded = np.where(gained > 0, math.inf, -math.inf)
    withstood: Floats = np.divide(gained, critical, out=unbounded, where=critical > 0)
    return withstood


def _second_best(probabilities: Floats, costs: Costs) -> tuple[Integers, Floats]:
    # The cheaper one of neutral and critical, and what it is expected to cost.
    expected = probabilities @ np.array(costs)[:, _NON_CRITICAL + 1 :]
    return most_likely(-expected) + 1, np.asarray(expected.min(axis=1))


def least_penalty(withstood: Floats, classes: Integers, target: float) -> float:
    """The least penalty with which at most a share `target` of the critical rows is under-triaged.

    Args:
        withstood: (n,) `penalties_withstood`.
        classes: (n,) labels as indices.
        target: from 0 to 1.
    """
    of_critical = np.sort(withstood[classes == _CRITICAL])[::-1]
    allowed = math.floor(target * len(of_critical) + 1e-9)
    if allowed >= len(of_critical):
        return 0.0
    return max(0.0, float(of_critical[allowed]))


def cross_fitted_calls(
    probabilities: Floats,
    classes: Integers,
    parts: Sequence[tuple[Integers, Integers]],
    *,
    costs: Costs,
    target: float,
) -> tuple[Integers, list[float]]:
    """What rows are called by a rule whose penalty was chosen on the rows of other folds.

    Args:
        probabilities: (n, 3), each row's from a model that did not see it.
        classes: (n,) labels as indices.
        parts: (rows to choose on, rows held out) of each fold.
        costs: C[label][call].
        target: under-triage allowed where the penalty is chosen, from 0 to 1.

    Returns:
        (n,) indices, and the penalty of each fold.
    """
    withstood = penalties_withstood(probabilities, costs)
    called = np.zeros(len(classes), dtype=np.int64)
    penalties = []
    for chosen_on, held_out in parts:
        penalty = least_penalty(withstood[chosen_on], classes[chosen_on], target)
        called[held_out] = call(probabilities[held_out], costs, penalty)
        penalties.append(penalty)
    return called, penalties
