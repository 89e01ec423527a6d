"""`tarjih severity compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tarjih.cli.console import ConsoleReporter, command, out, say_written
from tarjih.cli.outputs import naming
from tarjih.cli.pairs import Columns, Encoding, read_pairs


@command
def compare(
    labelled: Annotated[
        str, typer.Argument(help="A data file with complaints and people's severity labels.")
    ],
    folder: Annotated[
        Path, typer.Option("--out", help="Folder of the comparison; rerunning goes on there.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="key=value settings of the comparison, such as nested=true."),
    ] = None,
    annotator: Annotated[
        list[str] | None,
        typer.Option(
            help="A kind (lexicon, linear, ...) or a YAML file of settings with a `kind`. The "
            "others are compared with the first. Default: every kind."
        ),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Folds that hold each complaint out once. Default: 5.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Ways to deal complaints into folds. Default: 1.")
    ] = None,
    column: Columns = None,
    encoding: Encoding = None,
) -> None:
    """Measure annotators on labels they did not see, with intervals, and each against the first.

    Writes comparison.html, comparison.json, plots, and the held-out probabilities.
    """
    from tarjih.data.read import read_consultations
    from tarjih.report.comparison import print_comparison, write_comparison
    from tarjih.settings import settings_from_overrides
    from tarjih.severity.compare import chosen_annotators, compare_annotators
    from tarjih.severity.comparison import ComparisonSettings
    from tarjih.severity.stretches import warn_of_stretches

    options = {"folds": folds, "seeds": seeds}
    told = [f"{name}={value}" for name, value in options.items() if value is not None]
    chosen = settings_from_overrides(ComparisonSettings, [*(settings or []), *told])
    annotators = chosen_annotators(annotator or [], chosen)
    consultations = read_consultations(
        labelled,
        columns=read_pairs("--column", column or []),
        encoding=encoding,
        require_severity=True,
    )
    reporter = ConsoleReporter()
    warn_of_stretches(consultations, reporter)
    with naming(labelled):
        comparison = compare_annotators(consultations, annotators, chosen, folder, reporter)
    print_comparison(comparison, out)
    write_comparison(comparison, folder)
    say_written(folder)
