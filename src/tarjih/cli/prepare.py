"""`tarjih prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.pairs import read_pairs


@command
def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(
            help=".xlsx, .csv, .tsv, .jsonl or .parquet files, a `datasets` folder or id, or "
            "bundled:consultations. Name labelled sources first."
        ),
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    column: Annotated[
        list[str] | None,
        typer.Option(help="OURS=THEIRS, such as complaint=Question, where it is not found."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="THEIRS=OURS, such as urgent=critical, for labels we do not know."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of text files, such as cp1256. Default: UTF-8.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    validation: Annotated[float, typer.Option(help="Share of rows for validation.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of rows for testing.")] = 0.1,
    similarity: Annotated[
        float, typer.Option(help="Similarity from which complaints stay in one split, 0 to 1.")
    ] = 0.5,
    max_rows: Annotated[
        int | None, typer.Option(help="Rows to keep at most, drawn at random.")
    ] = None,
    reject_bad_values: Annotated[
        bool,
        typer.Option(
            "--reject-bad-values",
            help="Set rows with unknown severities or invalid probabilities aside, do not stop.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier prepared folder.")
    ] = False,
) -> None:
    """Clean consultations, mask contacts, and split them without leaks.

    Writes a Parquet file for each split, rejects.jsonl (why rows were left out) and summary.json.
    """
    from tarjih.data.prepare import prepare as prepare_data
    from tarjih.data.summary import PrepareSettings
    from tarjih.progress import from_totals
    from tarjih.settings import make_settings

    settings = make_settings(
        PrepareSettings,
        {
            "seed": seed,
            "validation_fraction": validation,
            "test_fraction": test,
            "near_duplicate_similarity": similarity,
            "reject_bad_values": reject_bad_values,
            "max_rows": max_rows,
            "labels": read_pairs("--label", label or []),
        },
    )
    with ConsoleReporter().stage("reading rows") as advance:
        summary = prepare_data(
            sources,
            folder,
            settings,
            columns=read_pairs("--column", column or []),
            encoding=encoding,
            overwrite=overwrite,
            progress=from_totals(advance),
        )
    _show(summary, folder)


def _show(summary: Any, folder: Path) -> None:
    for source in summary.sources:
        found = ", ".join(f"{ours} = {theirs}" for ours, theirs in source.columns.items())
        out.print(f"{source.name}: {source.rows:,} rows", markup=False, soft_wrap=True)
        out.print(Padding(Text(f"columns: {found}"), (0, 0, 0, 2)))
    out.print(_table(summary))
    out.print(f"Left out: {sum(summary.rejected.values()):,} rows")
    for reason, count in summary.rejected.items():
        out.print(f"  {reason}: {count:,}", markup=False)
    if summary.rows_not_drawn:
        out.print(f"Not drawn (--max-rows): {summary.rows_not_drawn:,} rows")
    out.print(f"Near-duplicates kept in one split: {summary.near_duplicate_rows:,} rows")
    out.print(f"Contacts masked: {summary.masked_rows:,} rows")
    if summary.reused:
        out.print("All of this was there already; nothing was done.")
    say_written(folder)


def _table(summary: Any) -> Table:
    """A row for each split, and in it a line for people's labels and one for estimates."""
    from tarjih.records import SEVERITIES

    table = Table("split")
    table.add_column("rows", justify="right")
    table.add_column("severity")
    for severity in SEVERITIES:
        table.add_column(severity.replace("_", "-"), justify="right")
    for name, split in summary.splits.items():
        kinds = {"labelled": split.labelled_severity, "estimated": split.estimated_severity}
        shown = {kind: counts for kind, counts in kinds.items() if counts} or {"none": {}}
        table.add_row(
            name,
            f"{split.rows:,}",
            "\n".join(shown),
            *(
                "\n".join(f"{counts.get(str(severity), 0):,}" for counts in shown.values())
                for severity in SEVERITIES
            ),
        )
    return table
