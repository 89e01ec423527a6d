"""`tarjih severity fit | score | evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import check_output_file, naming
from tarjih.cli.pairs import read_pairs

app = typer.Typer(
    help="Learn and estimate how severe complaints are.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="OURS=THEIRS, such as complaint=Question."),
]
Encoding = Annotated[str | None, typer.Option(help="Of text files. Default: UTF-8.")]


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
    kind: Annotated[str, typer.Option(help="Which annotator: linear.")] = "linear",
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Fit a severity annotator, calibrated on folds that it did not see."""
    from tarjih.data.read import read_consultations
    from tarjih.settings import settings_from_overrides
    from tarjih.severity.annotate import fit_annotator
    from tarjih.severity.annotator import annotator_class, check_annotator_folder

    settings_class = annotator_class(kind).settings_class
    check_annotator_folder(model)
    chosen = settings_from_overrides(settings_class, settings or [])
    consultations = read_consultations(
        labelled,
        columns=read_pairs("--column", column or []),
        encoding=encoding,
        require_severity=True,
    )
    ConsoleReporter().note(f"fitting on {len(consultations):,} labelled complaints")
    with naming(labelled):
        annotator = fit_annotator(consultations, chosen)
    annotator.save(model)
    if annotator.measures is not None:
        out.print("Each complaint was scored by a model that was fitted without it:")
        _show(annotator.measures)
    say_written(model)


@app.command("score")
@command
def score(
    model: Annotated[Path, typer.Argument(help="Folder of an annotator.")],
    data: Annotated[str, typer.Argument(help="A data file with complaints.")],
    file: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Write every row again, in order, with severity, p_non_critical, p_neutral, p_critical."""
    from tarjih.severity.annotate import score_file

    check_output_file(file, data)
    with ConsoleReporter().stage("scoring complaints") as advance:
        scored = score_file(
            model,
            data,
            file,
            columns=read_pairs("--column", column or []),
            encoding=encoding,
            progress=advance,
        )
    counts = ", ".join(f"{count:,} {name}" for name, count in scored.rows_by_severity.items())
    out.print(f"{scored.rows:,} rows: {counts}")
    if scored.out_of_fold_rows:
        out.print(
            f"{scored.out_of_fold_rows:,} of them the annotator was fitted on; they carry the "
            "probabilities of a fold that did not see them"
        )
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
            model, labelled, columns=read_pairs("--column", column or []), encoding=encoding
        )
    )


def _show(measures: Any) -> None:
    from tarjih.records import SEVERITIES

    out.print(f"rows                        {measures.rows:,}")
    if measures.out_of_fold_rows:
        out.print(f"  of them out of fold       {measures.out_of_fold_rows:,}")
    for name, value in (
        ("accuracy", measures.accuracy),
        ("macro-F1", measures.macro_f1),
        ("log loss (nats)", measures.log_loss),
        ("expected calibration error", measures.expected_calibration_error),
        ("critical recall", measures.critical_recall),
        ("under-triage rate", measures.under_triage_rate),
    ):
        out.print(f"{name:<27} {'not defined' if value is None else f'{value:.4f}'}")
    table = Table("labelled")
    for severity in SEVERITIES:
        table.add_column(f"called {severity.replace('_', '-')}", justify="right")
    for severity, row in zip(SEVERITIES, measures.confusion_matrix, strict=True):
        table.add_row(severity.replace("_", "-"), *(f"{count:,}" for count in row))
    out.print(table)
