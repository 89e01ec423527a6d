"""A preview made by hand: markup, marks, numbers, a character of several tokens, a cut."""

from __future__ import annotations

from typing import Any

from tarjih.records import Consultation, Severity, SeverityDistribution
from tarjih.training.pieces import Part, Piece
from tarjih.training.preview import Preview, PreviewedExample
from tarjih.training.settings import TrainingSettings
from tarjih.weighting import Weighting

from .demo import make_spread

ACHE = "\u0635\u062f\u0627\u0639"  # suda': headache
REST = "\u0627\u0644\u0627\u0633\u062a\u0631\u0627\u062d\u0629"  # al-istiraha: rest
SHADDA = "\u0651"  # ARABIC SHADDA
FACE = "\U0001fae0"  # MELTING FACE
EVIL = "<script>alert(1)</script>"

# (text, ids, part)
TOKENS = (
    ("<bos>", (2,), Part.PROMPT),
    (ACHE[:2], (1001,), Part.PROMPT),
    (ACHE[2:], (1002,), Part.PROMPT),
    (SHADDA, (1003,), Part.PROMPT),
    (" 37", (1004,), Part.PROMPT),
    (".5 ", (1005,), Part.PROMPT),
    ("mg", (1006,), Part.PROMPT),
    (f" {EVIL}", (1007,), Part.PROMPT),
    (FACE, (11, 12, 13), Part.PROMPT),
    (f" {REST}", (1008,), Part.DROPPED),
    (" gone", (1009,), Part.DROPPED),
    (f"\n{REST}", (1010,), Part.PROMPT),
    (f" {REST}", (1011,), Part.RESPONSE),
    ("\u202e&", (1012,), Part.RESPONSE),
    ("<eos>", (1,), Part.END),
)


def make_pieces(tokens: Any = TOKENS) -> tuple[Piece, ...]:
    pieces, position = [], 0
    for text, ids, part in tokens:
        dropped = part is Part.DROPPED
        pieces.append(Piece(text, ids, part, None if dropped else position))
        position += 0 if dropped else len(ids)
    return tuple(pieces)


def make_example(**changes: Any) -> PreviewedExample:
    values: dict[str, Any] = {
        "consultation": Consultation(
            id=f"<b>7</b>{ACHE}",
            complaint=ACHE,
            response=REST,
            labelled_severity=Severity.CRITICAL,
            probabilities=SeverityDistribution(0.125, 0.25, 0.625),
        ),
        "weight": 1.25,
        "rank": 95,
        "prompt_tokens": 12,
        "supervised_tokens": 3,
        "dropped_tokens": 2,
        "pieces": make_pieces(),
    }
    return PreviewedExample(**{**values, **changes})


def make_preview(**changes: Any) -> Preview:
    values: dict[str, Any] = {
        "model": f"<i>a</i>/{ACHE}",
        "weighting": Weighting(alpha=0.5, beta=1, gamma=1.5),
        "training": TrainingSettings(batch_size=8, max_tokens=384),
        "examples": 96,
        "supervised_tokens": 12345,
        "mean_prompt": 41.25,
        "mean_response": 50.5,
        "longest": 333,
        "padding_share": 0.034,
        "truncated_complaints": 1,
        "left_out": (),
        "spread": make_spread(0.5),  # from 0.5 to 1.5
        "flatness": None,
        "shown": (make_example(),),
    }
    return Preview(**{**values, **changes})
