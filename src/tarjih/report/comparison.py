"""A comparison of annotators on a terminal, as plots, and as one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tarjih.files import write_text
from tarjih.records import SEVERITIES
from tarjih.report.annotator import MEASURES, MeasureName, annotator_quality
from tarjih.report.figures import inline_svg, save_figure
from tarjih.report.names import severity_label, showable
from tarjih.report.pages import render_page
from tarjih.report.severity_plots import confusion_figure, reliability_figure, triage_figure
from tarjih.report.tables import ABSENT, format_number
from tarjih.severity.comparison import ComparedAnnotator, Comparison, Difference, TriageChoice
from tarjih.severity.resampling import Estimate

PAGE_FILE = "comparison.html"
PLOT_SUFFIXES = (".svg", ".png")
_LONGEST_NAME = 16  # of an annotator in the table of under-triage, for 80 columns
_MOST_COLUMNS = {"measures": 4, "differences": 3}  # annotators side by side in 80 columns
TRIAGE_COLUMNS = (
    "under_triage_rate",
    "accuracy",
    "macro_f1",
    "critical_recall",
    "over_triage_rate",
)


@dataclass(frozen=True, slots=True)
class MeasureCell:
    """A number, its 95 % interval, and its p value where it has one, as they are shown."""

    value: str
    interval: str
    p: str = ""


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """A measure of several annotators."""

    name: MeasureName
    cells: tuple[MeasureCell, ...]


def measure_rows(comparison: Comparison) -> list[MeasureRow]:
    """Every measure, with a cell for each annotator."""
    return [
        MeasureRow(
            name,
            tuple(_cell(one.measures[key], name.decimals) for one in comparison.annotators),
        )
        for key, name in MEASURES.items()
    ]


def difference_rows(comparison: Comparison) -> list[MeasureRow]:
    """Every measure, with a cell for each annotator but the first, which they are compared with."""
    found: dict[str, list[Difference]] = {}
    for one in comparison.differences:
        found.setdefault(one.measure, []).append(one)
    return [
        MeasureRow(name, tuple(_difference_cell(one, name.decimals) for one in found[key]))
        for key, name in MEASURES.items()
        if key in found
    ]


def _cell(estimate: Estimate, decimals: int) -> MeasureCell:
    low, high = (format_number(end, decimals) for end in (estimate.low, estimate.high))
    interval = f"{low}\u2013{high}" if estimate.low is not None else ""
    return MeasureCell(format_number(estimate.value, decimals), interval)


def _difference_cell(one: Difference, decimals: int) -> MeasureCell:
    value, low, high = (
        _signed(end, decimals)
        for end in (one.difference.value, one.difference.low, one.difference.high)
    )
    p = "" if one.p_corrected is None else f"p {one.p_corrected:.3f}"
    return MeasureCell(value, f"{low} to {high}" if one.difference.low is not None else "", p)


def _signed(value: float | None, decimals: int) -> str:
    text = format_number(value, decimals)
    return f"+{text}" if value is not None and round(value, decimals) > 0 else text


def sentences(comparison: Comparison) -> Iterator[str]:
    """What was compared, and how to read it."""
    data, settings = comparison.data, comparison.settings
    seeds = settings["seeds"]
    dealt = "dealt once" if seeds == 1 else f"dealt {seeds} times, of which means are shown"
    yield (
        f"{data['rows']:,} labelled complaints ({_severities(data['rows_by_severity'])}), "
        f"{settings['folds']} folds, {dealt}. Each complaint was scored by models that saw neither "
        "it nor its near-duplicates."
    )
    yield (
        f"Intervals are of 95 %, by {settings['resamples']:,} resamples of "
        f"{data['groups_of_near_duplicates']:,} groups of near-duplicates. They hold for such "
        "complaints and such labels; they leave out how the rows were dealt into folds."
    )
    if comparison.differences:
        yield (
            f"Differences are to {comparison.annotators[0].name}; p is of exchanging groups "
            f"between the two, corrected for all {len(comparison.differences)} differences by "
            "Holm's method."
        )


def _severities(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {severity_label(name)}" for name, count in counts.items())


def aim(choice: TriageChoice) -> str:
    """What under-triage a row of the table aims at."""
    return "none" if choice.target is None else f"at most {_percent(choice.target)}"


def _percent(share: float | None, decimals: int = 0) -> str:
    return ABSENT if share is None else f"{format_number(100 * share, decimals)} %"


def triage_rows(annotator: ComparedAnnotator) -> list[TriageChoice]:
    """The choices to show: without a penalty, and the aims that need one."""
    plain, *aimed = annotator.triage
    return [plain, *(one for one in aimed if any(penalty != 0 for penalty in one.penalties))]


def triage_cells(choice: TriageChoice) -> list[MeasureCell]:
    """The measures of a choice in percent, in the order of `TRIAGE_COLUMNS`."""
    found = [choice.measures[name] for name in TRIAGE_COLUMNS]
    return [
        MeasureCell(
            _percent(one.value, 1),
            "" if one.low is None else f"{100 * one.low:.1f}\u2013{100 * (one.high or 0):.1f}",
        )
        for one in found
    ]


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the measures, the differences to the first annotator, and what less under-triage costs.

    Nothing is wider than 80 columns.
    """
    for sentence in sentences(comparison):
        console.print(Text(sentence), highlight=False)
    names = [one.name for one in comparison.annotators]
    _print_rows(measure_rows(comparison), names, _MOST_COLUMNS["measures"], console)
    if comparison.differences:
        console.print(Text(f"\nDifference to {showable(names[0])}"))
        most = _MOST_COLUMNS["differences"]
        _print_rows(difference_rows(comparison), names[1:], most, console)
    console.print(
        Text(
            "\nWhat less under-triage costs: calls of least expected cost, where under-triage costs"
            " so much more that it keeps to an aim on the other folds. Aims that are kept anyway "
            "are left out."
        )
    )
    _print_triage(comparison.annotators, console)


def _print_rows(
    rows: Sequence[MeasureRow], names: Sequence[str], most: int, console: Console
) -> None:
    for start in range(0, len(names), most):
        shown = slice(start, start + most)
        table = Table("", box=None, pad_edge=False)
        for name in names[shown]:
            table.add_column(Text(showable(name)), justify="right", overflow="fold")
        for row in rows:
            cells = [
                Text(f"{one.value}  {one.p}\n" if one.p else f"{one.value}\n").append(
                    one.interval, "dim"
                )
                for one in row.cells[shown]
            ]
            table.add_row(Text(row.name.label), *cells)
        console.print(table)


def _print_triage(annotators: Sequence[ComparedAnnotator], console: Console) -> None:
    table = Table("", "aim", box=None, pad_edge=False)
    table.columns[0].overflow, table.columns[0].max_width = "fold", _LONGEST_NAME
    for name in TRIAGE_COLUMNS:
        label = MEASURES[name].label.lower().replace(" ", "\n").replace("-", "-\n")
        table.add_column(label, justify="right")
    for one in annotators:
        for place, choice in enumerate(triage_rows(one)):
            values = [Text(cell.value) for cell in triage_cells(choice)]
            table.add_row(Text(showable(one.name) if place == 0 else ""), aim(choice), *values)
    console.print(table)


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write the plots, each as SVG and PNG, and the page; give the page's path."""
    figures = {f"reliability-{one.name}": reliability_figure(one) for one in comparison.annotators}
    figures |= {f"confusion-{one.name}": confusion_figure(one) for one in comparison.annotators}
    figures["under-triage"] = triage_figure(comparison)
    for name, figure in figures.items():
        for suffix in PLOT_SUFFIXES:
            save_figure(figure, out / f"{name}{suffix}")
    page = out / PAGE_FILE
    write_text(page, comparison_page(comparison))
    return page


def comparison_page(comparison: Comparison) -> str:
    """The comparison as an HTML page that needs nothing else."""
    return render_page("comparison.html.j2", _context(comparison))


def _context(comparison: Comparison) -> dict[str, Any]:
    return {
        "comparison": comparison,
        "names": [one.name for one in comparison.annotators],
        "sentences": list(sentences(comparison)),
        "measures": measure_rows(comparison),
        "differences": difference_rows(comparison),
        "triage_columns": [MEASURES[name] for name in TRIAGE_COLUMNS],
        "aim": aim,
        "triage_cells": triage_cells,
        "triage_rows": triage_rows,
        "triage_chart": inline_svg(triage_figure(comparison), "What less under-triage costs"),
        "severities": [severity_label(severity) for severity in SEVERITIES],
        "annotators": [
            {
                "name": one.name,
                "kind": one.kind,
                "reliability": inline_svg(reliability_figure(one), f"Reliability: {one.name}"),
                "quality": next(annotator_quality({"confusion_matrix": one.confusion_matrix})),
                "settings": _pretty(one.settings),
                "signatures": _pretty(one.signatures),
                "files": one.probabilities,
            }
            for one in comparison.annotators
        ],
        "details": [
            ("Data", _pretty(comparison.data)),
            ("Settings of the comparison", _pretty(comparison.settings)),
            ("Versions", _pretty(comparison.versions)),
        ],
    }


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
