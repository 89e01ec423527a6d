"""What things are called in a report, and how text of unknown origin is made fit to show."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from tarjih.records import ExperimentResults, Severity

BASE = "base"
CROSS_ENTROPY = "uniform"

_CONDITIONS = {
    BASE: "Base",
    CROSS_ENTROPY: "CE",
    "mild": "SA mild",
    "strong": "SA strong",
    "balanced": "SA balanced",
    "shuffled": "Shuffled control",
}
"""Labels in the order of the paper's table, the control last; SA is severity-aware."""

_SEVERITIES = {
    Severity.NON_CRITICAL: "non-critical",
    Severity.NEUTRAL: "neutral",
    Severity.CRITICAL: "critical",
}

# Embeddings, overrides and isolates of text direction: one that is left open turns round what
# follows it. The harmless marks U+200E and U+200F stay.
_DIRECTION_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_NOT_SHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LATIN = "A-Za-z\u00b5\u00c0-\u024f"  # MICRO SIGN, letters with accents
_LEFT_TO_RIGHT = re.compile(rf"[\d{_LATIN}](?:[\d{_LATIN}.,:/%\u00b0+' -]*[\d{_LATIN}%\u00b0])?")
_UNIT = re.compile(rf"[{_LATIN}%\u00b0]")
_REPLACEMENT = "\ufffd"  # REPLACEMENT CHARACTER
_LONGEST_MODEL_NAME = 28


def condition_label(condition: str) -> str:
    """The paper's name of a condition; one that the paper does not have keeps its own."""
    return _CONDITIONS.get(condition, condition)


def severity_label(severity: str) -> str:
    """The name of a severity as a reader writes it."""
    return _SEVERITIES.get(Severity(severity), severity) if severity in set(Severity) else severity


def conditions_of(results: ExperimentResults) -> list[str]:
    """The conditions that occur: those of the paper in its order, then others as they come."""
    present = list(dict.fromkeys(record.condition for record in results.records))
    known = [condition for condition in _CONDITIONS if condition in present]
    return known + [condition for condition in present if condition not in _CONDITIONS]


def models_of(results: ExperimentResults) -> list[str]:
    """The models, in the order of the records."""
    return list(dict.fromkeys(record.model for record in results.records))


def short_model_names(models: Iterable[str]) -> dict[str, str]:
    """Model -> its last path component, shortened, where that still tells the models apart."""
    full = list(dict.fromkeys(models))
    short = {name: _shorten(re.split(r"[/\\:]", name.rstrip("/\\"))[-1] or name) for name in full}
    taken = list(short.values())
    return {name: short[name] if taken.count(short[name]) == 1 else name for name in full}


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_MODEL_NAME else name[: _LONGEST_MODEL_NAME - 1] + "…"


def showable(text: str) -> str:
    """Text without characters that HTML cannot hold or that turn round the text after them."""
    return _NOT_SHOWABLE.sub(_REPLACEMENT, _DIRECTION_CONTROLS.sub("", text))


def latin(text: str) -> str:
    """ASCII for plots, whose fonts cannot join Arabic letters; what is not ASCII becomes `?`."""
    on_one_line = " ".join(showable(text).split())
    return on_one_line.replace("…", "...").encode("ascii", "replace").decode()


def direction(text: str) -> str:
    """`rtl` when at least half of the letters are written from right to left, else `ltr`.

    The first letter, which HTML's `dir="auto"` goes by, is often that of a Latin drug name.
    """
    strong = [unicodedata.bidirectional(character) for character in text]
    to_left = sum(kind in {"R", "AL"} for kind in strong)
    return "rtl" if to_left >= strong.count("L") else "ltr"


def runs(text: str) -> list[tuple[str, bool]]:
    """A right-to-left text in pieces, each with whether it must be read from left to right.

    Without this, bidirectional display turns "37.5 °C" inside an Arabic sentence into "C° 37.5".
    Numbers on their own are left to the reader's software, which gets them right.
    """
    pieces: list[tuple[str, bool]] = []
    end = 0
    for match in _LEFT_TO_RIGHT.finditer(text):
        if _UNIT.search(match[0]):
            pieces += [(text[end : match.start()], False), (match[0], True)]
            end = match.end()
    return [piece for piece in [*pieces, (text[end:], False)] if piece[0]]


def join(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
