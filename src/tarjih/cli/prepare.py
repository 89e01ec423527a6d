"""`tarjih prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tarjih.cli.console import ConsoleReporter, command, out
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

    Writes train.parquet, validation.parquet and test.parquet, rejects.jsonl with a reason for each
    row that was left out, and summary.json.
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
        out.print(f"{source.name}: {source.rows:,} rows; columns {found}", markup=False)
    table = Table("split", "rows", "labelled", "with estimated severity")
    for name, split in summary.splits.items():
        table.add_row(
            name,
            f"{split.rows:,}",
            _counts(split.labelled_severity),
            _counts(split.estimated_severity),
        )
    out.print(table)
    left_out = sum(summary.rejected.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.rejected.items())
    out.print(f"Left out: {left_out:,} rows" + (f" ({reasons})" if reasons else ""), markup=False)
    out.print(
        f"Near-duplicates kept together: {summary.near_duplicate_rows:,} rows; "
        f"contacts masked in {summary.masked_rows:,} rows"
    )
    if summary.reused:
        out.print("All of this was there already; nothing was done.")
    out.print(f"Written to {folder}", markup=False)


def _counts(by_severity: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in by_severity.items()) or "none"
