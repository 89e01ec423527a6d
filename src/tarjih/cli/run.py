"""`tarjih run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tarjih.cli.console import ConsoleReporter, command, out


@command
def run(
    config: Annotated[
        Path, typer.Argument(help="A YAML file; `tarjih settings experiment` lists its keys.")
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder of the results.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as training.epochs=3.")
    ] = None,
) -> None:
    """Run models x conditions x seeds and report; rerunning goes on where it stopped."""
    from tarjih.config import ExperimentConfig
    from tarjih.experiment.cells import plan_cells
    from tarjih.experiment.run import run_experiment
    from tarjih.report.html import write_report
    from tarjih.report.terminal import print_results
    from tarjih.settings import load_settings

    chosen = load_settings(ExperimentConfig, config, overrides or [])
    reporter = ConsoleReporter()
    cells = plan_cells(chosen)
    reporter.note(f"{chosen.name}: {len(cells)} cells")
    for cell in cells:
        reporter.note(f"  {cell}")
    results = run_experiment(chosen, folder, reporter)
    page = write_report(results, folder)
    print_results(results, out)
    out.print(f"Results: {folder / 'results.json'}", markup=False, soft_wrap=True)
    out.print(f"Report:  {page}", markup=False, soft_wrap=True)
    failed = [record for record in results.records if record.status == "failed"]
    if failed:
        reporter.warn(f"{len(failed)} of {len(cells)} cells failed; rerun to try them again")
        raise typer.Exit(1)
