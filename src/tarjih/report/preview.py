"""A preview of a training set as a page and in words; `preview_terminal` prints it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from tarjih.files import write_text
from tarjih.records import SEVERITIES
from tarjih.report.names import direction, runs, severity_label
from tarjih.report.pages import render_page
from tarjih.report.plots import weight_chart
from tarjih.report.summary import is_constant
from tarjih.report.tables import format_number
from tarjih.training.pieces import Part, Piece
from tarjih.training.preview import Preview, PreviewedExample

_BLANKS = {" ": "\u00b7", "\n": "\u21b5", "\t": "\u21e5"}  # MIDDLE DOT, RETURN and TAB arrows
_CARRIER = "\u25cc"  # DOTTED CIRCLE: what a mark without its letter is shown on
# Format and control characters, separators, surrogates, private and unassigned characters: nobody
# could see them, and some turn round the text after them.
_UNSEEN = {"Cf", "Cc", "Zl", "Zp", "Zs", "Cs", "Co", "Cn"}
# Begin and end tokens, whose brackets would be turned round between Arabic words.
_MARKER = re.compile(r"<[^<>\s]+>$|\[[^\[\]\s]+\]$")
_NAMED = 5
_LONGEST_DROPPED = 300
_CHART_COLOUR = "#0072b2"


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the summary, with its unit or meaning."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Neighbouring pieces of the same part."""

    part: Part
    title: str
    pieces: tuple[Piece, ...]
    tokens: int


@dataclass(slots=True)
class Stretch:
    """Parts of pieces, (text, number of the piece), that are read in one direction."""

    left_to_right: bool
    texts: list[tuple[str, int]] = field(default_factory=list)


def write_preview(preview: Preview, path: Path) -> None:
    """Write one HTML page that needs nothing else."""
    write_text(path, render_page("preview.html.j2", _context(preview)))


def facts(preview: Preview) -> list[Fact]:
    """The training set in numbers."""
    training, spread = preview.training, preview.spread
    limit = "" if training.batch_tokens is None else f", {training.batch_tokens:,} tokens"
    batches = f"of all tokens, in batches of at most {training.batch_size}{limit}"
    weights = ", ".join(
        f"{value:g} {severity_label(severity)}"
        for severity, value in zip(SEVERITIES, preview.weighting.settings, strict=True)
    )
    dealt = ", dealt to the wrong rows" if preview.weighting.shuffled else ""
    scaled = ", divided by their mean" if preview.weighting.normalise == "mean" else ""
    return [
        Fact("Examples", f"{preview.examples:,}"),
        Fact("Left out", f"{len(preview.left_out):,}", _left_out(preview)),
        Fact("Shortened complaints", f"{preview.truncated_complaints:,}", "their end is dropped"),
        Fact("Supervised tokens", f"{preview.supervised_tokens:,}", "responses and their end"),
        Fact("Mean prompt", f"{preview.mean_prompt:.1f}", "tokens, not supervised"),
        Fact("Mean response", f"{preview.mean_response:.1f}", "tokens, its end included"),
        Fact(
            "Longest example", f"{preview.longest:,}", f"tokens, of at most {training.max_tokens:,}"
        ),
        Fact("Padding", f"{100 * preview.padding_share:.1f} %", batches),
        Fact("Weights", "", f"{weights}{dealt}{scaled}"),
        Fact("Lowest, highest", f"{spread.minimum:.3f} – {spread.maximum:.3f}"),
        Fact("90 % of them", f"{spread.p05:.3f} – {spread.p95:.3f}", f"mean {spread.mean:.3f}"),
        Fact(
            "Effective sample",
            f"{100 * spread.effective_sample_share:.1f} %",
            "of the examples; 100 % when all weights are equal",
        ),
    ]


def sections(example: PreviewedExample) -> Iterator[Section]:
    """The example from its first token to its last, cut where the part changes."""
    begun = False
    for part, group in groupby(example.pieces, key=lambda piece: piece.part):
        pieces = tuple(group)
        tokens = sum(len(piece.ids) for piece in pieces)
        title = {
            Part.PROMPT: "Prompt, continued" if begun else "Prompt",
            Part.DROPPED: "Dropped: the model never sees this",
            Part.RESPONSE: "Response",
            Part.END: "End of sequence",
        }[part]
        begun = True
        yield Section(part, title, pieces, tokens)


def severity_sentence(example: PreviewedExample) -> str:
    """The probabilities behind the weight, and the label where a person gave one."""
    probabilities = example.consultation.probabilities
    said = "no probabilities"
    if probabilities is not None:
        said = ", ".join(
            f"{severity_label(severity)} {format_number(value, 3)}"
            for severity, value in zip(SEVERITIES, probabilities.as_tuple(), strict=True)
        )
    label = example.consultation.labelled_severity
    return said if label is None else f"{said}; labelled {severity_label(label)}"


def place_sentence(example: PreviewedExample, preview: Preview) -> str:
    """Where the weight stands among all."""
    if is_constant(preview.spread):
        return "all weights are equal"
    dealt = "; dealt from another row" if preview.weighting.shuffled else ""
    return f"place {example.rank:,} of {preview.examples:,} from the lowest{dealt}"


def visible(text: str) -> str:
    """A piece on its own, so that blanks, unseen characters and lone marks can be seen."""
    shown = "".join(map(_visible_character, text))
    return _CARRIER + shown if shown and unicodedata.category(shown[0]) == "Mn" else shown


def _visible_character(character: str) -> str:
    if character in _BLANKS:
        return _BLANKS[character]
    unseen = unicodedata.category(character) in _UNSEEN
    return f"[U+{ord(character):04X}]" if unseen else character


def _flowing(text: str) -> str:
    """A piece among others: blanks stay blank, and a line's end is marked and kept."""
    return "".join(
        " " if one == " " else "\u21b5\n" if one == "\n" else _visible_character(one)
        for one in text
    )


def stretches(pieces: Sequence[Piece]) -> list[Stretch]:
    """Pieces as one text to read, cut where the direction changes.

    Arabic letters join across tokens, and "37.5 mg" is read from left to right as a whole, however
    many tokens it is: so the direction is found for the text and not for each token.
    """
    texts = [_flowing(piece.text) for piece in pieces]
    left_to_right = direction("".join(texts)) == "ltr"
    found: list[Stretch] = []
    for marker, group in groupby(enumerate(texts), key=lambda one: bool(_MARKER.match(one[1]))):
        numbered = list(group)
        whole = "".join(text for _, text in numbered)
        cut = [(whole, True)] if left_to_right or marker else runs(whole)
        found += _cut(numbered, cut)
    return found


def _cut(numbered: list[tuple[int, str]], cut: list[tuple[str, bool]]) -> Iterator[Stretch]:
    """Numbered texts, cut once more where the text that they make together is cut."""
    at = used = 0
    for text, left_to_right in cut:
        stretch = Stretch(left_to_right)
        wanted = len(text)
        while wanted:
            number, whole = numbered[at]
            taken = whole[used : used + wanted]
            if taken:
                stretch.texts.append((taken, number))
            wanted -= len(taken)
            used += len(taken)
            if used == len(whole):
                at, used = at + 1, 0
        yield stretch


def shortened(pieces: Sequence[Piece], longest: int) -> tuple[Sequence[Piece], int]:
    """As many pieces as a reader has patience for, and how many tokens are not among them."""
    shown = pieces[:longest]
    return shown, sum(len(piece.ids) for piece in pieces[len(shown) :])


def _left_out(preview: Preview) -> str:
    if not preview.left_out:
        return "no response is too long"
    named = ", ".join(preview.left_out[:_NAMED])
    more = len(preview.left_out) - _NAMED
    return f"responses too long: {named}{f' and {more:,} more' if more > 0 else ''}"


def _context(preview: Preview) -> dict[str, Any]:
    spread = preview.spread
    margin = 0.05 * (spread.maximum - spread.minimum) or 0.05
    limits = (spread.minimum - margin, spread.maximum + margin)
    return {
        "preview": preview,
        "facts": facts(preview),
        "chart": weight_chart("all examples", spread, limits, _CHART_COLOUR),
        "examples": [_example(one, preview) for one in preview.shown],
        "severity_label": severity_label,
        "visible": visible,
    }


def _example(example: PreviewedExample, preview: Preview) -> dict[str, Any]:
    kept = [piece for piece in example.pieces if piece.part is not Part.DROPPED]
    dropped = [piece for piece in example.pieces if piece.part is Part.DROPPED]
    few, more = shortened(dropped, _LONGEST_DROPPED)
    at = example.pieces.index(dropped[0]) if dropped else 0
    shown = [*kept[:at], *few, *kept[at:]]
    probabilities = example.consultation.probabilities
    return {
        "id": example.consultation.id,
        "example": example,
        "pieces": shown,
        "more_dropped": more,
        "stretches": stretches(shown),
        "direction": direction("".join(piece.text for piece in shown)),
        "place": place_sentence(example, preview),
        "severity": severity_sentence(example),
        "shares": []
        if probabilities is None
        else list(zip(SEVERITIES, probabilities.as_tuple(), strict=True)),
        "length": f"{100 * example.weight / preview.spread.maximum:.1f}",
        "mean": f"{100 * preview.spread.mean / preview.spread.maximum:.1f}",
        "tooltips": [_tooltip(piece) for piece in shown],
    }


def _tooltip(piece: Piece) -> str:
    ids = ", ".join(map(str, piece.ids))
    if piece.position is None:
        return f"dropped; id {ids}"
    if len(piece.ids) == 1:
        return f"position {piece.position}; id {ids}"
    last = piece.position + len(piece.ids) - 1
    return f"positions {piece.position} to {last}; {len(piece.ids)} tokens, ids {ids}"
