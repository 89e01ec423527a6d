"""`tarjih train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import naming
from tarjih.errors import DataError
from tarjih.records import Consultation


@command
def train(
    config: Annotated[Path, typer.Argument(help="A YAML file; `tarjih settings run` lists keys.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as training.learning_rate=1e-4.")
    ] = None,
) -> None:
    """Fine-tune a model with the severity-weighted loss; rerunning goes on where it stopped."""
    from tarjih.config import RunConfig
    from tarjih.settings import load_settings
    from tarjih.training.train import TrainingJob
    from tarjih.training.train import train as fine_tune

    chosen = load_settings(RunConfig, config, overrides or [])
    job = TrainingJob(
        model=chosen.model,
        train=_read(chosen.train, probabilities=not chosen.weighting.is_uniform),
        validation=_read(chosen.validation) if chosen.validation is not None else [],
        weighting=chosen.weighting,
        seed=chosen.seed,
        prompt=chosen.prompt,
        model_settings=chosen.loading,
        training=chosen.training,
    )
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


def _read(file: Path, *, probabilities: bool = False) -> list[Consultation]:
    from tarjih.data.read import read_consultations

    try:
        return read_consultations(file, require_response=True, require_probabilities=probabilities)
    except DataError as error:
        if "--" not in error.remedy:
            raise
        # The remedy names options that reading has in other commands.
        raise DataError(
            error.what,
            file=error.file,
            row=error.row,
            column=error.column,
            remedy="read it with tarjih prepare first, which can be told columns and encodings",
        ) from None
