"""`tarjih train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import naming


@command
def train(
    config: Annotated[Path, typer.Argument(help="A YAML file; `tarjih settings run` lists keys.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as training.learning_rate=1e-4.")
    ] = None,
) -> None:
    """Fine-tune a model with the severity-weighted loss; rerunning goes on where it stopped."""
    from tarjih.cli.jobs import read_run_config, training_job
    from tarjih.training.train import train as fine_tune

    chosen = read_run_config(config, overrides or [])
    job = training_job(chosen)
    with naming(chosen.train):
        run = fine_tune(job, chosen.out, ConsoleReporter())
    curve = [point for point in run.training.history if point.validation_loss is not None]
    out.print(
        f"{run.training.steps} steps on {run.training.examples:,} examples "
        f"({run.training.supervised_tokens:,} supervised tokens, "
        f"{run.training.padding_share:.1%} padding)"
    )
    if curve:
        out.print(
            f"validation loss {curve[0].validation_loss:.3f} -> {curve[-1].validation_loss:.3f} "
            "nats a token"
        )
    say_written(run.folder)
