"""The same tables on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tarjih.records import ExperimentResults
from tarjih.report.names import showable
from tarjih.report.summary import seeds_sentence
from tarjih.report.tables import Cell, ResultTable, failures, result_table, severity_table


def print_results(results: ExperimentResults, console: Console) -> None:
    """Print the paper's table, the response loss per severity, and what failed."""
    if not results.records:
        console.print(Text("The experiment holds no runs yet."))
        return
    _print_table(result_table(results, "bertscore_f1"), console)
    by_severity = severity_table(results, "response_loss")
    if by_severity.rows:
        _print_table(by_severity, console)
    for model, condition, seed, error in failures(results):
        said = Text(showable(f"failed: {model}, {condition}, seed {seed}: {error}"), "red")
        console.print(said, soft_wrap=True)  # a path that is cut in two cannot be copied
    console.print(Text(seeds_sentence(results), "dim"))


def _print_table(table: ResultTable, console: Console) -> None:
    metric = table.metric
    # Not as Rich's title, which it breaks to the width of a narrow table.
    console.print(Text(f"{metric.label} ({metric.unit}, {metric.better})", "italic"))
    console.print(_rich(table))


def _rich(table: ResultTable) -> Table:
    rich = Table()
    first = table.rows[0] if table.rows else None
    labels = len(first.labels) if first is not None else 1
    for index, header in enumerate(table.headers):
        # `Text`, never `str`: a name may hold what Rich would take for markup.
        rich.add_column(
            Text(showable(header)), justify="left" if index < labels else "right", overflow="fold"
        )
    for row in table.rows:
        rich.add_row(*(Text(showable(label)) for label in row.labels), *map(_cell, row.cells))
    return rich


def _cell(cell: Cell) -> Text:
    return Text(cell.text, "red" if cell.mean is None and cell.errors else "")
