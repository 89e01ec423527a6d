"""Plots of severity annotators and of the weights that come of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tarjih.records import SEVERITIES, Severity
from tarjih.report.figures import SEVERITY_COLOURS, look
from tarjih.report.names import latin, severity_label
from tarjih.severity.comparison import (
    ComparedAnnotator,
    Comparison,
    ReliabilityBin,
    TriageChoice,
)
from tarjih.weighting import Floats

_INK = "#1f2937"
_SOFT = "#9ca3af"
_CONFIDENCE_COLOUR = "#0072b2"
_STYLES = (
    ("#111827", "o"), ("#0072b2", "s"), ("#d55e00", "^"), ("#009e73", "D"), ("#cc79a7", "v"),
    ("#8a6d00", "P"),
)  # fmt: skip
_FEW = 20  # complaints in a bin below which its share says little
_WEIGHT_BINS = 40
_LEAST_WIDTH = 1e-3  # of the axis of weights that are all alike
_TRADE_OFFS = (
    ("accuracy", "accuracy"),
    ("critical_recall", "critical recall"),
    ("over_triage_rate", "over-triage"),
)


def reliability_figure(annotator: ComparedAnnotator) -> Figure:
    """Stated probability against observed share, with the complaints in each bin below."""
    found = annotator.reliability
    panels = [("most likely severity", found.confidence, _CONFIDENCE_COLOUR)]
    panels += [
        (severity_label(severity), found.by_severity[severity], SEVERITY_COLOURS[severity])
        for severity in SEVERITIES
    ]
    with look():
        figure = Figure(figsize=(6.4, 6.8), layout="constrained")
        figure.suptitle(f"Reliability: {latin(annotator.name)}", fontsize=11, fontweight="bold")
        grid = figure.add_gridspec(4, 2, height_ratios=(3, 1, 3, 1))
        for place, (title, bins, colour) in enumerate(panels):
            row, column = divmod(place, 2)
            curve = figure.add_subplot(grid[2 * row, column])
            counts = figure.add_subplot(grid[2 * row + 1, column], sharex=curve)
            _draw_reliability(curve, bins, colour)
            _draw_counts(counts, bins, colour)
            curve.set_title(title, loc="left", fontsize=10)
            if column == 0:
                curve.set_ylabel("observed share")
                counts.set_ylabel("complaints")
            if row == 1:
                counts.set_xlabel("stated probability")
    return figure


def _draw_reliability(axes: Any, bins: Sequence[ReliabilityBin], colour: str) -> None:
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle="--")
    line = []
    for one in bins:
        if one.stated is None or one.observed is None:
            continue
        few = one.count < _FEW
        axes.vlines(one.stated, *wilson(one.observed, one.count), color=colour, linewidth=0.8)
        axes.plot(
            one.stated, one.observed, "o", color=colour, markersize=4,
            markerfacecolor="white" if few else colour, zorder=3,
        )  # fmt: skip
        if not few:
            line.append((one.stated, one.observed))
    if line:
        axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.2)
    axes.set(xlim=(0, 1), ylim=(-0.03, 1.03))
    axes.tick_params(labelbottom=False)


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` (Wilson 1927), within 0 and 1."""
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _draw_counts(axes: Any, bins: Sequence[ReliabilityBin], colour: str) -> None:
    width = 1 / len(bins)
    highest = max(one.count for one in bins)
    axes.bar(
        [(place + 0.5) * width for place in range(len(bins))], [one.count for one in bins],
        0.9 * width, color=colour, alpha=0.5,
    )  # fmt: skip
    for place, one in enumerate(bins):
        if one.count:
            axes.text(
                (place + 0.5) * width, one.count + 0.04 * highest, f"{one.count}",
                ha="center", va="bottom", rotation=90, fontsize=6, color=_INK,
            )  # fmt: skip
    axes.set_ylim(0, 1.75 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    axes.grid(visible=False)


def confusion_figure(annotator: ComparedAnnotator) -> Figure:
    """Complaints by label and call; the colour is the share of the label."""
    matrix = np.array(annotator.confusion_matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = [severity_label(severity) for severity in SEVERITIES]
    with look():
        figure = Figure(figsize=(4.6, 3.9), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for label, row in enumerate(shares):
            for called, share in enumerate(row):
                axes.text(
                    called, label, f"{matrix[label, called]:,}\n{share:.0%}",
                    ha="center", va="center", color="white" if share > 0.55 else _INK,
                )  # fmt: skip
        axes.set_xticks(range(3), names)
        axes.set_yticks(range(3), names)
        axes.set(xlabel="called", ylabel="labelled")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_title(
            f"Confusion: {latin(annotator.name)}", loc="left", fontsize=11, fontweight="bold"
        )
    return figure


def triage_figure(comparison: Comparison) -> Figure:
    """What less under-triage costs each annotator; the large marker is without a penalty."""
    with look():
        figure = Figure(figsize=(5.4, 7.2), layout="constrained")
        figure.suptitle("What less under-triage costs", fontsize=11, fontweight="bold")
        panels = figure.subplots(len(_TRADE_OFFS), sharex=True)
        for axes, (name, label) in zip(panels, _TRADE_OFFS, strict=True):
            for place, one in enumerate(comparison.annotators):
                _draw_trade_off(axes, one, name, _STYLES[place % len(_STYLES)])
            axes.set(ylabel=label)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        panels[-1].set(xlabel="under-triage: critical complaints called non-critical")
        panels[-1].xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        panels[-1].set_xlim(left=0)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _draw_trade_off(
    axes: Any, annotator: ComparedAnnotator, measure: str, style: tuple[str, str]
) -> None:
    def point(choice: TriageChoice) -> tuple[float, float] | None:
        x, y = choice.measures["under_triage_rate"].value, choice.measures[measure].value
        return None if x is None or y is None else (x, y)

    colour, marker = style
    points = sorted(found for choice in annotator.triage if (found := point(choice)))
    plain = point(annotator.triage[0])
    if not points or plain is None:
        return
    axes.plot(
        *zip(*points, strict=True), color=colour, marker=marker, markersize=4, linewidth=1.2,
        label=latin(annotator.name).lstrip("_") or "?",
    )  # fmt: skip
    axes.plot(*plain, color=colour, marker=marker, markersize=9, fillstyle="none")


@dataclass(frozen=True, slots=True, eq=False)
class WeightPanel:
    """A histogram of weights: its name, a line about it, and the weights of each severity."""

    name: str
    caption: str
    by_severity: Mapping[Severity, Floats]


def weight_panels(panels: Sequence[WeightPanel]) -> Figure:
    """Histograms of several weightings below each other on one axis, coloured by severity."""
    every = np.concatenate([part for one in panels for part in one.by_severity.values()])
    edges = common_edges(every, _WEIGHT_BINS)
    severities = [one for one in SEVERITIES if any(one in panel.by_severity for panel in panels)]
    with look():
        figure = Figure(figsize=(6.4, 0.9 + 1.6 * len(panels)), layout="constrained")
        for axes, one in zip(
            figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0], panels, strict=True
        ):
            axes.hist(
                [one.by_severity.get(severity, np.zeros(0)) for severity in severities],
                list(edges), stacked=True, edgecolor="white", linewidth=0.3,
                color=[SEVERITY_COLOURS[severity] for severity in severities],
                label=[severity_label(severity) for severity in severities],
            )  # fmt: skip
            axes.set_title(f"{latin(one.name)}: {latin(one.caption)}", loc="left", fontsize=9.5)
            axes.set(ylabel="examples")
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set(xlabel="weight")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3,
            title="label, or most likely severity where there is none", title_fontsize=9,
        )  # fmt: skip
    return figure


def common_edges(values: Floats, bins: int) -> Floats:
    """(bins + 1,) edges from the lowest to the highest value; some width even where all agree."""
    low, high = float(values.min()), float(values.max())
    if high - low < _LEAST_WIDTH:
        low, high = low - _LEAST_WIDTH, high + _LEAST_WIDTH
    return np.linspace(low, high, bins + 1)
