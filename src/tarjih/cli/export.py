"""`tarjih severity export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import check_output_file
from tarjih.cli.pairs import Columns, Encoding, read_pairs


@command
def export(
    data: Annotated[str, typer.Argument(help="A data file with responses and probabilities.")],
    file: Annotated[Path, typer.Option("--out", help="File to write: .xlsx or .csv.")],
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Write scored data in the six columns of the paper, for spreadsheets and for training."""
    from tarjih.severity.export import export_file

    check_output_file(file, data)
    with ConsoleReporter().stage("writing rows") as advance:
        written = export_file(
            data,
            file,
            columns=read_pairs("--column", column or []),
            encoding=encoding,
            progress=advance,
        )
    out.print(f"{written.rows:,} rows")
    if written.other_labels:
        ConsoleReporter().warn(
            f"{written.other_labels:,} rows have a label from a person that is not the most likely "
            "severity; these six columns have no place for it"
        )
    say_written(written.file)
