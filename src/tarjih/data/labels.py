"""What people and programs write for a severity: labels and probabilities."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from tarjih.arabic import characters as ch
from tarjih.data.columns import fold_name
from tarjih.records import Severity, SeverityDistribution

LABELS: dict[str, Severity] = {
    "non_critical": Severity.NON_CRITICAL,
    "not critical": Severity.NON_CRITICAL,
    "mild": Severity.NON_CRITICAL,
    "low": Severity.NON_CRITICAL,
    "minor": Severity.NON_CRITICAL,
    "\u063a\u064a\u0631 \u062d\u0631\u062c": Severity.NON_CRITICAL,  # ghayr harij: not critical
    "\u063a\u064a\u0631 \u062d\u0631\u062c\u0629": Severity.NON_CRITICAL,  # the same, feminine
    "\u0628\u0633\u064a\u0637": Severity.NON_CRITICAL,  # basit: simple
    "\u0628\u0633\u064a\u0637\u0629": Severity.NON_CRITICAL,  # the same, feminine
    "\u062e\u0641\u064a\u0641": Severity.NON_CRITICAL,  # khafif: light
    "\u062e\u0641\u064a\u0641\u0629": Severity.NON_CRITICAL,  # the same, feminine
    "neutral": Severity.NEUTRAL,
    "moderate": Severity.NEUTRAL,
    "medium": Severity.NEUTRAL,
    "\u0645\u062a\u0648\u0633\u0637": Severity.NEUTRAL,  # mutawassit: moderate
    "\u0645\u062a\u0648\u0633\u0637\u0629": Severity.NEUTRAL,  # the same, feminine
    "\u0645\u062d\u0627\u064a\u062f": Severity.NEUTRAL,  # muhayid: neutral
    "critical": Severity.CRITICAL,
    "severe": Severity.CRITICAL,
    "high": Severity.CRITICAL,
    "emergency": Severity.CRITICAL,
    "\u062d\u0631\u062c": Severity.CRITICAL,  # harij: critical
    "\u062d\u0631\u062c\u0629": Severity.CRITICAL,  # the same, feminine
    "\u062e\u0637\u064a\u0631": Severity.CRITICAL,  # khatir: dangerous
    "\u062e\u0637\u064a\u0631\u0629": Severity.CRITICAL,  # the same, feminine
    "\u0634\u062f\u064a\u062f": Severity.CRITICAL,  # shadid: severe
    "\u0634\u062f\u064a\u062f\u0629": Severity.CRITICAL,  # the same, feminine
    "\u0637\u0627\u0631\u0626": Severity.CRITICAL,  # tari': urgent
    "\u0637\u0627\u0631\u0626\u0629": Severity.CRITICAL,  # the same, feminine
}
KNOWN_LABELS = ", ".join(LABELS)
# As the published data spell them, for what Arabic speakers read.
ARABIC_NAMES: dict[Severity, str] = {
    Severity.NON_CRITICAL: "\u063a\u064a\u0631 \u062d\u0631\u062c",  # ghayr harij: not critical
    Severity.NEUTRAL: "\u0645\u062a\u0648\u0633\u0637",  # mutawassit: moderate
    Severity.CRITICAL: "\u062d\u0631\u062c",  # harij: critical
}
_FOLDED = {fold_name(label): severity for label, severity in LABELS.items()}
_PERCENT_SIGNS = "%" + ch.PERCENT_SIGN
_NUMBERS = {ord(ch.DECIMAL_SEPARATOR): ".", **{ord(sign): "" for sign in _PERCENT_SIGNS}}


def parse_severity(label: str, extra: Mapping[str, Severity] | None = None) -> Severity:
    """The severity that a label means, in English or Arabic; `extra` adds labels and wins.

    Raises:
        ValueError: when the label is unknown.
    """
    folded = fold_name(label)
    for theirs, severity in (extra or {}).items():
        if fold_name(theirs) == folded:
            return severity
    if folded not in _FOLDED:
        raise ValueError(f"this is not a known severity; known are {KNOWN_LABELS}")
    return _FOLDED[folded]


def _number(text: str) -> float:
    # float() itself reads Arabic-Indic and Persian digits.
    try:
        return float(text.translate(_NUMBERS).strip())
    except ValueError:
        return math.nan


def probability_scale(rows: Iterable[Sequence[str]]) -> float:
    """What to divide a file's probabilities by: 100 where they are percentages, else 1.

    Args:
        rows: the three probabilities of some rows, as written. The median of their sums decides, so
            that a few damaged rows do not.
    """
    sums = [sum(map(_number, row)) for row in rows]
    known = [total for total in sums if math.isfinite(total)]
    return 100.0 if known and statistics.median(known) > 10.0 else 1.0


def parse_probabilities(texts: Sequence[str], scale: float) -> SeverityDistribution:
    """The distribution that three numbers mean.

    Args:
        texts: non-critical, neutral, critical, as written.
        scale: 1 or 100, from `probability_scale`.

    Numbers of at most two decimals (whole percentages) may miss 1 by 0.01 through rounding alone,
    such as 0.33, 0.33, 0.33; those are divided by their sum.

    Raises:
        ValueError: when one is not a number in [0, 1] or they do not sum to 1.
    """
    values = [_number(text) / scale for text in texts]
    total = sum(values)
    rounded = all(math.isclose(value, round(value, 2), abs_tol=1e-9) for value in values)
    if rounded and 1e-9 < abs(total - 1.0) < 0.01 + 1e-6:
        values = [value / total for value in values]
    return SeverityDistribution(*values)
