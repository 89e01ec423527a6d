"""The `tarjih` command. Libraries that take seconds to import are imported by the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from tarjih import __version__
from tarjih.cli import (
    evaluate,
    generate,
    prepare,
    preview,
    report,
    run,
    settings,
    severity,
    train,
    weights,
)

app = typer.Typer(
    name="tarjih",
    help="Severity-weighted fine-tuning for Arabic medical language models. "
    "A research tool, not medical advice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("prepare")(prepare.prepare)
app.add_typer(severity.app, name="severity")
app.command("weights")(weights.weights)
app.command("preview")(preview.preview)
app.command("train")(train.train)
app.command("generate")(generate.generate)
app.command("evaluate")(evaluate.evaluate)
app.command("run")(run.run)
app.command("report")(report.report)
app.command("settings")(settings.settings)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tarjih {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Severity-weighted fine-tuning for Arabic medical language models."""


def main() -> None:
    """Run the command line."""
    app()
