"""A preview of a training set on a terminal.

Numbers and Arabic never share a run: each piece and each line of text is isolated, so that a
terminal that knows text direction shows ids and weights where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tarjih.report.isolation import isolated, lines_to_read
from tarjih.report.preview import (
    Section,
    facts,
    place_sentence,
    sections,
    severity_sentence,
    shortened,
    visible,
)
from tarjih.training.pieces import Part, Piece
from tarjih.training.preview import Preview, PreviewedExample

_STYLES = {Part.PROMPT: "dim", Part.DROPPED: "red strike", Part.RESPONSE: "green", Part.END: "bold"}
_MEANINGS = {
    Part.PROMPT: "not supervised",
    Part.DROPPED: "not in the example",
    Part.RESPONSE: "supervised",
    Part.END: "supervised",
}
_BAR_CELLS = 20
_LONGEST_PIECE = 20  # terminal cells; a token of 30 blanks would leave no room for others
_LONGEST_DROPPED = 80  # pieces
_INDENT = 2
_NARROWEST = 12


def print_summary(preview: Preview, console: Console) -> None:
    """Print the training set in numbers."""
    console.print(Text(f"Model {isolated(preview.model)}", "bold"), soft_wrap=True)
    known = facts(preview)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    used = max(len(fact.name) for fact in known) + max(len(fact.value) for fact in known) + 6
    for fact in known:
        meaning = "\n".join(lines_to_read(fact.meaning, max(_NARROWEST, console.width - used)))
        grid.add_row(Text(fact.name), Text(fact.value), Text(meaning, "dim"))
    console.print(grid)
    if preview.flatness is not None:
        console.print(Text(f"Warning: {preview.flatness}", "yellow"))


def print_examples(preview: Preview, console: Console) -> None:
    """Print the examples, token by token."""
    for number, example in enumerate(preview.shown, 1):
        console.print()
        console.rule(Text(f"Example {number} of {len(preview.shown)}", "bold"), align="left")
        _print_weight(example, preview, console)
        for section in sections(example):
            _print_section(section, console)
    console.print()
    console.print(
        Text(
            "Each line begins with the position of its first token; then id and text of each. "
            "Joined ids (2x 12+34) are tokens that only together make characters.",
            "dim",
        )
    )


def _print_weight(example: PreviewedExample, preview: Preview, console: Console) -> None:
    filled = round(_BAR_CELLS * example.weight / preview.spread.maximum)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    name = lines_to_read(example.consultation.id, console.width - 2 * len("severity"))
    grid.add_row("id", Text("\n".join(name)))
    grid.add_row("weight", Text(f"{example.weight:.3f}", "bold"))
    grid.add_row("", Text("█" * filled + "░" * (_BAR_CELLS - filled)))
    grid.add_row("", Text(place_sentence(example, preview), "dim"))
    grid.add_row("severity", Text(severity_sentence(example)))
    said = f"{example.prompt_tokens:,} prompt, {example.supervised_tokens:,} supervised"
    grid.add_row("tokens", f"{said}{_dropped(example.dropped_tokens)}")
    console.print(grid)


def _dropped(tokens: int) -> str:
    return f"; {tokens:,} dropped from the complaint's end" if tokens else ""


def _print_section(section: Section, console: Console) -> None:
    style = _STYLES[section.part]
    count = f"{section.tokens:,} token{'' if section.tokens == 1 else 's'}"
    console.print()
    console.print(Text.assemble((section.title, "bold"), f" ({count}, {_MEANINGS[section.part]})"))
    if section.part is Part.DROPPED:
        few, more = shortened(section.pieces, _LONGEST_DROPPED)
        _print_text(few, style, console)
        if more:
            console.print(Text(f"  and {more:,} tokens more", "dim"))
        return
    if section.part is not Part.END:
        _print_text(section.pieces, style, console)
    console.print(_grid(section.pieces, style, console.width))


def _print_text(pieces: Sequence[Piece], style: str, console: Console) -> None:
    for line in lines_to_read("".join(piece.text for piece in pieces), console.width - _INDENT):
        console.print(Text(" " * _INDENT + line, style), no_wrap=True)


def _grid(pieces: Sequence[Piece], style: str, width: int) -> Table:
    ids = [_ids(piece) for piece in pieces]
    texts = [_short(visible(piece.text)) for piece in pieces]
    cell = max(map(cell_len, ids)) + 1 + max(map(cell_len, texts)) + 2
    across = max(1, (width - _INDENT - 6) // cell)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(justify="right", min_width=4, style="dim", no_wrap=True)
    for _ in range(across):
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(no_wrap=True)
    for start in range(0, len(pieces), across):
        position = pieces[start].position
        row = [Text("–" if position is None else str(position))]
        for at in range(start, min(start + across, len(pieces))):
            row += [Text(ids[at], "dim"), Text(isolated(texts[at]), style)]
        grid.add_row(*row)
    return grid


def _ids(piece: Piece) -> str:
    joined = "+".join(map(str, piece.ids))
    return joined if len(piece.ids) == 1 else f"{len(piece.ids)}x {joined}"


def _short(text: str) -> str:
    return text if cell_len(text) <= _LONGEST_PIECE else text[: _LONGEST_PIECE - 1] + "…"
