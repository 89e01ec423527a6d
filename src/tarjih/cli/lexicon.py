"""`tarjih severity lexicon explain | list`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from tarjih.cli.console import command, out
from tarjih.errors import BadInputError, DataError
from tarjih.records import Severity
from tarjih.severity.lexicon.entries import Category, Dialect

if TYPE_CHECKING:
    from tarjih.severity.lexicon.entries import Sign
    from tarjih.severity.lexicon.reading import Evidence, Reading

app = typer.Typer(
    help="See what the lexicon reads in a complaint, and what it knows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
_STDIN = "-"
_STYLES = {Severity.CRITICAL: "red", Severity.NEUTRAL: "yellow", Severity.NON_CRITICAL: "green"}
_WHY = {
    "denied": "is denied",
    "over": "is over",
    "in_general": "is asked about in general",
    "of_a_relative": "is a relative's",
}


@app.command("explain")
@command
def explain(
    text: Annotated[
        list[str] | None, typer.Argument(help="What a patient wrote: one complaint.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", help="Text file with a complaint on each line; - reads stdin."),
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of the file.")] = "utf-8-sig",
    as_json: AsJson = False,
) -> None:
    """Show which signs the lexicon finds, which of them decide, and why others are set aside."""
    from tarjih.severity.lexicon.reading import bundled_lexicon

    complaints = _complaints(text or [], file, encoding)
    lexicon = bundled_lexicon()
    readings = [(complaint, lexicon.read(complaint)) for complaint in complaints]
    if as_json:
        _print_json([_reading_as_json(*one) for one in readings])
        return
    for number, (complaint, reading) in enumerate(readings, start=1):
        if len(readings) > 1:
            out.rule(Text(f"Complaint {number} of {len(readings)}", "bold"), align="left")
        _print_reading(complaint, reading)


@app.command("list")
@command
def list_signs(
    severity: Annotated[Severity | None, typer.Option(help="Only signs of this one.")] = None,
    category: Annotated[Category | None, typer.Option(help="Only signs of this one.")] = None,
    dialect: Annotated[Dialect | None, typer.Option(help="Only the words of this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the signs: what they are, the words they are known by, and their clinical source."""
    from tarjih.severity.lexicon.reading import bundled_lexicon

    chosen = [
        sign
        for sign in bundled_lexicon().signs.values()
        if severity in (None, sign.severity) and category in (None, sign.category)
    ]
    if as_json:
        _print_json([_sign_as_json(sign, dialect) for sign in chosen])
        return
    for sign in chosen:
        _print_sign(sign, dialect)
    forms = sum(len(of) for sign in chosen for of in _forms(sign, dialect).values())
    out.print(f"{len(chosen):,} signs, {forms:,} forms", highlight=False)


def _complaints(text: list[str], file: str | None, encoding: str) -> list[str]:
    if bool(text) == (file is not None):
        raise BadInputError(
            "there must be either a text or --file",
            remedy="write the complaint in quotation marks, or name a file, or - for stdin",
        )
    complaints = [" ".join(text)] if file is None else _lines(file, encoding)
    complaints = [complaint.strip() for complaint in complaints if complaint.strip()]
    if not complaints:
        raise DataError(
            "there is no complaint here", file=file, remedy="give at least a line of text"
        )
    return complaints


def _lines(file: str, encoding: str) -> list[str]:
    raw = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
    try:
        return raw.decode(encoding).splitlines()
    except (UnicodeDecodeError, LookupError):
        raise DataError(
            f"this cannot be read as {encoding}",
            file=file,
            remedy="name the encoding, such as --encoding windows-1256",
        ) from None


def _print_reading(complaint: str, reading: Reading) -> None:
    severity = reading.severity
    _print_text(complaint, "")
    if severity is None:
        out.print(Text("No sign counts: the lexicon does not know how severe this is", "bold"))
    else:
        out.print(Text.assemble("The lexicon calls this ", (_name(severity), _STYLES[severity])))
    deciding = reading.deciding
    for one in sorted(reading.evidence, key=lambda one: (one not in deciding, one.start)):
        _print_evidence(complaint, one, one in deciding)
    out.print()


def _print_evidence(complaint: str, one: Evidence, decides: bool) -> None:
    from tarjih.severity.lexicon.cues import Standing

    counts = one.standing is Standing.COUNTS
    verdict = "decides" if decides else "counts, too" if counts else _WHY[one.standing]
    moved = "" if one.severity is one.sign.severity else f" (else {_name(one.sign.severity)})"
    out.print()
    line = Text.assemble(
        (_name(one.severity), _STYLES[one.severity] if counts else "dim"),
        f"{moved}: {one.sign.english}",
        (f"  [{one.sign.id}] ", "dim"),
        (verdict, "bold" if decides else ""),
    )
    out.print(line, soft_wrap=True)
    _print_text(complaint[one.start : one.end], "bold" if decides else "")
    if one.because is not None:
        out.print("  because of")
        _print_text(complaint[slice(*one.because)], "")
    elif not counts:
        out.print("  by the ending of its own verb")
    _print_source(one.sign)


def _print_sign(sign: Sign, dialect: Dialect | None) -> None:
    line = Text.assemble(
        (_name(sign.severity), _STYLES[sign.severity]),
        f": {sign.english}",
        (f"  [{sign.id}] {_name(sign.category)}", "dim"),
    )
    out.print(line, soft_wrap=True)
    _print_source(sign)
    for name, forms in _forms(sign, dialect).items():
        out.print(f"  {name}", highlight=False)
        for form in forms:
            _print_text(form, "")
    for all_of in sign.together:
        out.print(f"  together: {' + '.join(all_of)}", highlight=False, soft_wrap=True)
    out.print()


def _forms(sign: Sign, dialect: Dialect | None) -> dict[str, tuple[str, ...]]:
    return {name: forms for name, forms in sign.forms.items() if dialect in (None, name)}


def _print_source(sign: Sign) -> None:
    out.print(Text(f"  {sign.source[0]}, {sign.source[1]}", "dim"), soft_wrap=True)


def _print_text(text: str, style: str) -> None:
    from tarjih.report.isolation import lines_to_read

    for line in _indented(lines_to_read(text, out.width - 4)):
        out.print(Text(line, style), no_wrap=True)


def _indented(lines: list[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _name(name: str) -> str:
    return name.replace("_", "-")


def _reading_as_json(complaint: str, reading: Reading) -> dict[str, Any]:
    deciding = reading.deciding
    return {
        "complaint": complaint,
        "severity": reading.severity,
        "evidence": [
            {
                "sign": one.sign.id,
                "english": one.sign.english,
                "category": one.sign.category,
                "source": _source_as_json(one.sign),
                "severity": one.severity,
                "standing": one.standing,
                "decides": one in deciding,
                "words": _span_as_json(complaint, (one.start, one.end)),
                "because": one.because and _span_as_json(complaint, one.because),
            }
            for one in reading.evidence
        ],
    }


def _span_as_json(complaint: str, span: tuple[int, int]) -> dict[str, Any]:
    return {"start": span[0], "end": span[1], "text": complaint[slice(*span)]}


def _source_as_json(sign: Sign) -> dict[str, str]:
    return {"title": sign.source[0], "url": sign.source[1]}


def _sign_as_json(sign: Sign, dialect: Dialect | None) -> dict[str, Any]:
    return {
        "id": sign.id,
        "severity": sign.severity,
        "category": sign.category,
        "english": sign.english,
        "source": _source_as_json(sign),
        "forms": _forms(sign, dialect),
        "together": sign.together,
    }


def _print_json(value: Any) -> None:
    # ASCII: what a patient wrote must not steer the terminal, and any program can read escapes.
    out.print(json.dumps(value, indent=2), markup=False, highlight=False, soft_wrap=True)
