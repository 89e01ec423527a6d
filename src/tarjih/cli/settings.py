"""`tarjih settings`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table
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

    table = Table("key", "default", "meaning")
    for key, default, meaning in describe_settings(
        ExperimentConfig if kind is Kind.EXPERIMENT else RunConfig
    ):
        table.add_row(Text(key), Text(default), Text(meaning))
    out.print(table)
