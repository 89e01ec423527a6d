"""`tarjih settings`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from tarjih.cli.console import command, out

if TYPE_CHECKING:
    from tarjih.settings import Settings


class Kind(StrEnum):
    """What the settings are for."""

    EXPERIMENT = "experiment"
    RUN = "run"
    COMPARISON = "comparison"
    LINEAR = "linear"
    LEXICON = "lexicon"
    ENCODER = "encoder"
    ENSEMBLE = "ensemble"


@command
def settings(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="experiment (tarjih run), run (tarjih train), comparison (tarjih severity "
            "compare), or a kind of annotator (tarjih severity fit)."
        ),
    ] = Kind.EXPERIMENT,
) -> None:
    """List every key of a settings file with its default and its meaning."""
    from tarjih.settings import describe_settings

    for key, default, meaning in describe_settings(_class_of(kind)):
        line = Text(key, "bold")
        if default:
            line.append(f": {_as_yaml(default)}", "not bold")
        out.print(line, soft_wrap=True)
        out.print(Padding(Text(meaning), (0, 0, 0, 4)))


def _class_of(kind: Kind) -> type[Settings]:
    from tarjih.config import ExperimentConfig, RunConfig
    from tarjih.severity.annotator import annotator_class
    from tarjih.severity.comparison import ComparisonSettings

    of_commands: dict[Kind, type[Settings]] = {
        Kind.EXPERIMENT: ExperimentConfig,
        Kind.RUN: RunConfig,
        Kind.COMPARISON: ComparisonSettings,
    }
    return of_commands[kind] if kind in of_commands else annotator_class(kind).settings_class


def _as_yaml(default: str) -> str:
    """A default as a settings file has it, on one line."""
    words = {"None": "null", "True": "true", "False": "false"}
    return words.get(default, default.replace("\n", "\\n"))
