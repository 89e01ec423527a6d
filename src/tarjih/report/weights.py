"""How far weights spread, for choosing a weighting before any training: as text and as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tarjih.records import SEVERITIES, Consultation, Severity, WeightSpread
from tarjih.report.figures import save_figure
from tarjih.report.names import severity_label, showable
from tarjih.report.severity_plots import WeightPanel, common_edges, weight_panels
from tarjih.weighting import Floats

_BARS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"  # LOWER ONE EIGHTH BLOCK to FULL BLOCK
_TEXT_BINS = 40
# Names of weightings in the table and beside the histograms, so that both keep to 80 columns.
_LONGEST_IN_TABLE = 14
_LONGEST_IN_LINE = 35


@dataclass(frozen=True, slots=True, eq=False)
class WeightChoice:
    """A weighting by the name that the user gave it, its weights (N,), and their spread."""

    name: str
    weights: Floats
    spread: WeightSpread


def print_weights(choices: Sequence[WeightChoice], lengths: str, console: Console) -> None:
    """A row for each weighting, then their histograms on one axis; at most 80 columns.

    Args:
        choices: at least one.
        lengths: what responses are measured in, such as "words".
        console: to print on.
    """
    table = Table("", box=None, pad_edge=False)
    table.columns[0].overflow, table.columns[0].max_width = "fold", _LONGEST_IN_TABLE
    for heading in ("mean", "5 %", "95 %", "effective\nsample"):
        table.add_column(heading, justify="right")
    for severity in SEVERITIES:
        table.add_column(f"gradient\n{severity_label(severity)}", justify="right")
    for choice in choices:
        spread = choice.spread
        table.add_row(
            Text(showable(choice.name).replace(",", ", ")),  # to be broken there
            f"{spread.mean:.3f}",
            f"{spread.p05:.3f}",
            f"{spread.p95:.3f}",
            f"{spread.effective_sample_share:.1%}",
            *(_share(spread, severity) for severity in SEVERITIES),
        )
    console.print(table)
    console.print()
    for line in _histograms(choices):
        console.print(Text(line), soft_wrap=True)
    console.print(
        Text(
            "\nEffective sample: (sum of w)\u00b2 / (n \u00b7 sum of w\u00b2), how many equal "
            "weights these are worth.\nGradient: the severity's share of the sum of weight \u00b7 "
            f"{lengths}, which is its share of the gradient where {lengths} are alike; "
            "`uniform` is what it would be without weights."
        )
    )


def _share(spread: WeightSpread, severity: Severity) -> str:
    share = spread.gradient_share_by_severity.get(str(severity))
    return "-" if share is None else f"{share:.1%}"


def _histograms(choices: Sequence[WeightChoice]) -> Iterator[str]:
    edges = common_edges(np.concatenate([choice.weights for choice in choices]), _TEXT_BINS)
    width = min(_LONGEST_IN_LINE, max(len(choice.name) for choice in choices))
    for choice in choices:
        counts, _ = np.histogram(choice.weights, edges)
        # Rounded up: what is there at all can be seen.
        heights = [-(-int(count) * (len(_BARS) - 1) // int(counts.max())) for count in counts]
        name = showable(choice.name)
        shown = name if len(name) <= width else f"{name[: width - 1]}\u2026"
        yield f"{shown:<{width}}  |{''.join(_BARS[height] for height in heights)}|"
    low, high = f"{edges[0]:.2f}", f"{edges[-1]:.2f}"
    yield f"{'':<{width}}   {low}{high:>{_TEXT_BINS - len(low)}}"


def draw_weights(
    choices: Sequence[WeightChoice], consultations: Sequence[Consultation], out: Path
) -> None:
    """Write the histograms below each other on one axis, as the file's name says: SVG, PNG, PDF."""
    severities = np.array([str(consultation.severity) for consultation in consultations])
    panels = [
        WeightPanel(
            choice.name,
            _caption(choice.spread),
            {
                severity: choice.weights[severities == str(severity)]
                for severity in SEVERITIES
                if (severities == str(severity)).any()
            },
        )
        for choice in choices
    ]
    save_figure(weight_panels(panels), out)


def _caption(spread: WeightSpread) -> str:
    kept = f"effective sample {spread.effective_sample_share:.1%}"
    share = spread.gradient_share_by_severity.get(str(Severity.CRITICAL))
    return kept if share is None else f"{kept}, critical {share:.1%} of the gradient"
