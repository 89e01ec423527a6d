"""`tarjih train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import naming
from tarjih.records import FirstStepGradient, TrainingPoint


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
    out.print(
        f"{run.training.steps} steps on {run.training.examples:,} examples "
        f"({run.training.supervised_tokens:,} supervised tokens, "
        f"{run.training.padding_share:.1%} padding)"
    )
    _print_first_step(run.training.first_step)
    _print_curve([one for one in run.training.history if one.validation_loss is not None])
    if "tensorboard" in chosen.training.report_to:
        out.print(f"curves: tensorboard --logdir {run.folder / 'tensorboard'}", soft_wrap=True)
    say_written(run.folder)


def _print_first_step(first: FirstStepGradient | None) -> None:
    if first is not None and first.unweighted_norm:
        out.print(
            f"first step: with weights, the gradient has {first.norm / first.unweighted_norm:.3f} "
            f"times its length without, and a cosine of {first.cosine:.4f} to it"
        )


def _print_curve(points: Sequence[TrainingPoint]) -> None:
    if not points:
        return
    first, last = points[0], points[-1]
    out.print(
        f"validation loss {first.validation_loss:.3f} -> {last.validation_loss:.3f} nats a token"
    )
    for severity, loss in last.validation_loss_by_severity.items():
        before = first.validation_loss_by_severity.get(severity)
        if before is not None:
            out.print(f"  {severity.replace('_', '-')}: {before:.3f} -> {loss:.3f}")
