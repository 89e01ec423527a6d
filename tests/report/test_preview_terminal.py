from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from tarjih.report.isolation import lines_to_read
from tarjih.report.preview_terminal import print_examples, print_summary
from tarjih.training.pieces import Part, Piece

from .previews import ACHE, EVIL, FACE, REST, make_example, make_preview

ISOLATED = re.compile("[\u2066-\u2068]([^\u2066-\u2069]*)\u2069")
ARABIC = re.compile("[\u0600-\u06ff]")


def printed(width: int = 80, *, colour: bool = False, **changes: Any) -> str:
    file = io.StringIO()
    system: Any = "truecolor" if colour else None
    console = Console(file=file, width=width, force_terminal=colour, color_system=system)
    preview = make_preview(**changes)
    print_summary(preview, console)
    print_examples(preview, console)
    return file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_arabic_is_isolated_from_every_number(width: int) -> None:
    for line in printed(width, model="m").splitlines():
        outside = ISOLATED.sub("", line)
        assert not ARABIC.search(outside)
        assert not re.search("[\u2066-\u2069]", outside)  # none is left open on its line
        assert cell_len(line) <= width


def test_a_line_of_tokens_has_position_ids_and_pieces_in_order() -> None:
    lines = [
        re.sub("[\u2068\u2069]", "", line).split()
        for line in printed(60).splitlines()
        if re.match(r" *\d+ +(\d|3x)", line)
    ]
    assert [cell for line in lines for cell in line[1:]] == [
        *("2", "<bos>", "1001", ACHE[:2], "1002", ACHE[2:], "1003", "\u25cc\u0651"),
        *("1004", "·37", "1005", ".5·", "1006", "mg", "1007", "·<script>alert(1)</…"),
        *("3x", "11+12+13", FACE),
        *("1010", f"↵{REST}", "1011", f"·{REST}", "1012", "[U+202E]&", "1", "<eos>"),
    ]
    starts = [int(line[0]) for line in lines]
    assert starts == sorted(starts)
    assert {0, 11, 12, 14} <= set(starts)  # a part begins its own line


def test_a_name_in_arabic_is_isolated_on_each_of_its_lines() -> None:
    left_out = tuple(f"{ACHE}-{number}" for number in range(5))
    text = printed(60, left_out=left_out)
    said = text.split("responses too long:")[1].split("Shortened")[0]
    lines = ISOLATED.findall(said)
    assert len(lines) > 1
    assert " ".join(lines) == ", ".join(left_out)
    assert not ARABIC.search(ISOLATED.sub("", said))


def test_parts_are_told_apart_without_colours() -> None:
    text = printed()
    order = [
        "Prompt (11 tokens, not supervised)",
        "Dropped: the model never sees this (2 tokens, not in the example)",
        "Prompt, continued (1 token, not supervised)",
        "Response (2 tokens, supervised)",
        "End of sequence (1 token, supervised)",
    ]
    places = [text.index(title) for title in order]
    assert places == sorted(places)
    assert f"{REST} gone" in text[places[1] : places[2]]
    assert "1.250" in text
    assert "█" * 17 + "░" * 3 in text  # 1.25 of 1.5
    assert "12 prompt, 3 supervised; 2 dropped from the complaint's end" in text
    assert "critical 0.625; labelled critical" in text


def test_parts_are_told_apart_with_colours() -> None:
    text = printed(colour=True)
    assert re.search(f"\x1b\\[2m\u2068{ACHE[:2]}", text)  # grey
    assert re.search(f"\x1b\\[32m\u2068·{REST}", text)  # green
    assert re.search("\x1b\\[9;31m  [\u2066\u2067]", text)  # red, struck through


def test_what_patients_wrote_is_no_markup_and_turns_nothing_round() -> None:
    text = printed(model="[red]a[/]", flatness="too [b]flat[/b]")
    assert "[red]a[/]" in text
    assert "Warning: too [b]flat[/b]" in text
    assert EVIL in text
    assert "\u202e" not in text


def test_a_long_cut_is_shown_in_part() -> None:
    pieces = (*make_example().pieces[:1], *[Piece(" x", (7,), Part.DROPPED, None)] * 100)
    assert "and 20 tokens more" in printed(shown=(make_example(pieces=pieces),))


@pytest.mark.parametrize(
    ("text", "begin"), [(f"Panadol {ACHE} {ACHE}", "\u2067"), ("take some caf\u00e9", "\u2066")]
)
def test_a_text_is_read_in_the_direction_of_most_of_it(text: str, begin: str) -> None:
    lines = lines_to_read(f" {text}\n{text}", 12)
    assert len(lines) >= 2
    assert begin in "".join(lines)
    for line in lines:
        assert line.isascii() or (line[0] == begin and line[-1] == "\u2069")
    assert " ".join(line.strip(f"{begin}\u2069") for line in lines) == f"{text} {text}"
