"""`tarjih report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tarjih.cli.console import command, out


@command
def report(
    folder: Annotated[Path, typer.Argument(help="Folder that tarjih run wrote.")],
) -> None:
    """Write report.html anew from results.json, and print the table."""
    from tarjih.report.html import write_report
    from tarjih.report.load import load_results
    from tarjih.report.terminal import print_results

    results = load_results(folder)
    page = write_report(results, folder)
    print_results(results, out)
    out.print(f"Report:  {page}", markup=False, soft_wrap=True)
