"""Options of the form NAME=VALUE, and those of every command that reads a data file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from tarjih.errors import SettingsError

Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="OURS=THEIRS, such as complaint=Question."),
]
Encoding = Annotated[str | None, typer.Option(help="Of text files. Default: UTF-8.")]


def read_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """`["complaint=Question"]` -> `{"complaint": "Question"}`; the last `=` divides.

    Raises:
        SettingsError: when a text has no `=` or nothing on one side of it.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.rpartition("=")
        if not separator or not name.strip() or not value.strip():
            raise SettingsError(
                f"{option} {text!r} is not of the form NAME=VALUE",
                remedy=f"write for example {option} complaint=Question",
            )
        pairs[name.strip()] = value.strip()
    return pairs
