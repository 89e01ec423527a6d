"""`tarjih settings`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from tarjih.cli.console import command, out


class Kind(StrEnum):
    """What the settings are for."""

    EXPERIMENT = "experiment"
    RUN = "run"


@command
def settings(
    kind: Annotated[
        Kind, typer.Argument(help="experiment (tarjih run) or run (tarjih train).")
    ] = Kind.EXPERIMENT,
) -> None:
    """List every key of a settings file with its default and its meaning."""
    from tarjih.config import ExperimentConfig, RunConfig
    from tarjih.settings import describe_settings

    for key, default, meaning in describe_settings(
        ExperimentConfig if kind is Kind.EXPERIMENT else RunConfig
    ):
        line = Text(key, "bold")
        if default:
            line.append(f": {_as_yaml(default)}", "not bold")
        out.print(line, soft_wrap=True)
        out.print(Padding(Text(meaning), (0, 0, 0, 4)))


def _as_yaml(default: str) -> str:
    """A default as a settings file has it, on one line."""
    words = {"None": "null", "True": "true", "False": "false"}
    return words.get(default, default.replace("\n", "\\n"))
