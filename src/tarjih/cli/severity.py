"""`tarjih severity fit | score | evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tarjih.cli import compare, export, lexicon, review
from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import naming
from tarjih.cli.pairs import Columns, Encoding, read_pairs
from tarjih.progress import SILENT

app = typer.Typer(
    help="Learn and estimate how severe complaints are.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("fit")
@command
def fit(
    labelled: Annotated[
        str, typer.Argument(help="A data file with complaints and people's severity labels.")
    ],
    model: Annotated[Path, typer.Option("--out", help="Folder of the annotator to make.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value settings, such as folds=10.")
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="Which annotator: lexicon, linear, encoder or ensemble, or a YAML file of "
            "settings with a `kind`."
        ),
    ] = "linear",
    licence: Annotated[
        str | None, typer.Option(help="Of the labelled data, for the data card.")
    ] = None,
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Fit a severity annotator, calibrated on folds that it did not see.

    README.md and DATA.md in its folder are its model card and data card, which you may edit.
    Finished folds are kept in OUT.work until the annotator is written.
    """
    from tarjih.data.read import read_consultations
    from tarjih.report.cards import write_cards
    from tarjih.severity.annotate import fit_annotator
    from tarjih.severity.annotator import check_annotator_folder, work_beside
    from tarjih.severity.kinds import annotator_settings
    from tarjih.severity.stretches import warn_of_stretches

    check_annotator_folder(model)
    chosen = annotator_settings(kind, settings or [])
    consultations = read_consultations(
        labelled,
        columns=read_pairs("--column", column or []),
        encoding=encoding,
        require_severity=True,
    )
    reporter = ConsoleReporter()
    warn_of_stretches(consultations, reporter)
    reporter.note(f"fitting on {len(consultations):,} labelled complaints")
    with work_beside(model, reporter) as work, naming(labelled):
        annotator = fit_annotator(consultations, chosen, work)
        annotator.save(model)
        write_cards(annotator, model, consultations, source=labelled, licence=licence)
    if annotator.measures is not None:
        out.print("Each complaint was scored by a model that was fitted without it:")
        _show(annotator.measures)
    say_written(model)


@app.command("score")
@command
def score(
    model: Annotated[Path, typer.Argument(help="Folder of an annotator, or builtin:lexicon.")],
    data: Annotated[str, typer.Argument(help="A data file with complaints.")],
    file: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Make only the I-th of N shares, and no file."),
    ] = None,
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Write every row again, in order, with severity, p_non_critical, p_neutral, p_critical.

    Finished shards are kept in OUT.work until the file is written: the same command goes on.
    """
    from tarjih.severity.annotate import score_file, score_share
    from tarjih.severity.shards import read_share, share_of_process

    share = share_of_process(None if shard is None else read_share(shard))
    reporter = SILENT if out.quiet else ConsoleReporter()
    columns = read_pairs("--column", column or [])
    if not share.merges:
        part = score_share(
            model, data, file, share, columns=columns, encoding=encoding, reporter=reporter
        )
        out.print(
            f"{part.shards:,} shards with {part.rows:,} rows are in {part.folder}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        out.print("When all shares are there, the same command without --shard writes the file")
        return
    scored = score_file(
        model, data, file, columns=columns, encoding=encoding, share=share, reporter=reporter
    )
    counts = ", ".join(f"{count:,} {name}" for name, count in scored.rows_by_severity.items())
    out.print(f"{scored.rows:,} rows: {counts}")
    if scored.out_of_fold_rows:
        out.print(
            f"{scored.out_of_fold_rows:,} of them the annotator was fitted on; they carry the "
            "probabilities of a fold that did not see them"
        )
    if scored.scored_complaints < scored.rows:
        out.print(f"{scored.scored_complaints:,} distinct complaints; the other rows repeat them")
    say_written(scored.file)


@app.command("evaluate")
@command
def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder of an annotator.")],
    labelled: Annotated[str, typer.Argument(help="A data file with people's severity labels.")],
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Measure an annotator against people's labels."""
    from tarjih.severity.annotate import evaluate_file

    _show(
        evaluate_file(
            model,
            labelled,
            columns=read_pairs("--column", column or []),
            encoding=encoding,
            reporter=ConsoleReporter(),
        )
    )


app.command("compare")(compare.compare)
app.command("export")(export.export)
app.add_typer(review.app, name="review")
app.add_typer(lexicon.app, name="lexicon")


def _show(measures: Any) -> None:
    from tarjih.records import SEVERITIES

    out.print(f"rows                        {measures.rows:,}")
    if measures.out_of_fold_rows:
        out.print(f"  of them out of fold       {measures.out_of_fold_rows:,}")
    for name, value in (
        ("accuracy", measures.accuracy),
        ("macro-F1", measures.macro_f1),
        ("quadratic kappa", measures.quadratic_kappa),
        ("log loss (nats)", measures.log_loss),
        ("Brier score", measures.brier_score),
        ("expected calibration error", measures.expected_calibration_error),
        ("critical recall", measures.critical_recall),
        ("under-triage rate", measures.under_triage_rate),
        ("over-triage rate", measures.over_triage_rate),
    ):
        out.print(f"{name:<27} {'not defined' if value is None else f'{value:.4f}'}")
    table = Table("labelled")
    for severity in SEVERITIES:
        table.add_column(f"called {severity.replace('_', '-')}", justify="right")
    for severity, row in zip(SEVERITIES, measures.confusion_matrix, strict=True):
        table.add_row(severity.replace("_", "-"), *(f"{count:,}" for count in row))
    out.print(table)
