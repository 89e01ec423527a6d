"""Plots as inline SVG: Latin labels, a colour and a marker for each condition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tarjih.records import SEVERITIES, ExperimentResults, ResultRecord, TrainingPoint, WeightSpread
from tarjih.report.figures import svg_figure
from tarjih.report.names import (
    condition_label,
    conditions_of,
    latin,
    models_of,
    severity_label,
    short_model_names,
)
from tarjih.report.summary import is_constant
from tarjih.report.tables import METRICS, Metric, make_cell

# Okabe and Ito's palette, which the colour-blind can tell apart; its yellow is too light for lines.
_STYLES = {
    "base": ("#6b7280", "X"),
    "uniform": ("#111827", "o"),
    "mild": ("#56b4e9", "v"),
    "strong": ("#d55e00", "^"),
    "balanced": ("#009e73", "s"),
    "shuffled": ("#cc79a7", "D"),
}
_OTHER_STYLES = (("#e69f00", "P"), ("#0072b2", "*"), ("#8a6d00", "h"), ("#7a4fa3", "<"))


def severity_charts(results: ExperimentResults) -> Iterator[Markup]:
    """For each model: response loss and BERTScore F1 by severity and condition."""
    names = short_model_names(models_of(results))
    for model in models_of(results):
        for key in ("response_loss", "bertscore_f1"):
            chart = _severity_chart(results, model, names[model], METRICS[key])
            if chart is not None:
                yield chart


def training_charts(results: ExperimentResults) -> Iterator[Markup]:
    """For each model: training and validation loss by step, the latter by severity too."""
    names = short_model_names(models_of(results))
    parts: list[tuple[str, str | None]] = [("training", None), ("validation", None)]
    parts += [("validation", str(severity)) for severity in SEVERITIES]
    for model in models_of(results):
        for part, severity in parts:
            chart = _training_chart(results, model, names[model], part, severity)
            if chart is not None:
                yield chart


def weight_chart(
    condition: str, spread: WeightSpread, limits: tuple[float, float], colour: str
) -> Markup:
    """A histogram of weights, on the axis that all conditions share."""
    title = f"Weights: {condition_label(condition)}"
    with svg_figure(title, size=(5.4, 2.3)) as (figure, axes, done):
        del figure
        _draw_histogram(axes, spread, colour)
        axes.set(xlim=limits, xlabel="weight", ylabel="examples")
    return done()


def _draw_histogram(axes: Any, spread: WeightSpread, colour: str) -> None:
    edges = spread.histogram_edges
    if is_constant(spread):
        axes.axvline(spread.mean, color=colour, linewidth=4)
        axes.set_yticks([])
        return
    widths = [right - left for left, right in pairwise(edges)]
    axes.bar(
        edges[:-1], spread.histogram_counts, widths, align="edge",
        color=colour, edgecolor="white", linewidth=0.4,
    )  # fmt: skip
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def styles_of(conditions: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Condition -> (colour, marker)."""
    others = [one for one in conditions if one not in _STYLES]
    extra = {one: _OTHER_STYLES[n % len(_OTHER_STYLES)] for n, one in enumerate(others)}
    return {one: _STYLES.get(one) or extra[one] for one in conditions}


def _severity_chart(
    results: ExperimentResults, model: str, name: str, metric: Metric
) -> Markup | None:
    conditions = conditions_of(results)
    styles = styles_of(conditions)
    drawn = False
    with svg_figure(f"{metric.label} by severity: {name}") as (figure, axes, done):
        for index, condition in enumerate(conditions):
            records = _records(results, model, condition)
            cells = [make_cell(records, metric, severity) for severity in SEVERITIES]
            # Beside each other, so that error bars of equal means do not cover one another.
            shift = 0.09 * (index - (len(conditions) - 1) / 2)
            points = [
                (place + shift, cell.mean, cell.deviation or 0.0)
                for place, cell in enumerate(cells)
                if cell.mean is not None
            ]
            if points:
                drawn = True
                x, y, error = zip(*points, strict=True)
                colour, marker = styles[condition]
                axes.errorbar(
                    x, y, _error_bars(error), color=colour, marker=marker, markersize=6,
                    linestyle=":", linewidth=0.8, capsize=2, label=_legend(condition),
                )  # fmt: skip
        axes.set_xticks(range(len(SEVERITIES)), [severity_label(one) for one in SEVERITIES])
        axes.set(ylabel=f"{metric.label}\n({metric.unit}, {metric.better})", xlim=(-0.5, 2.5))
        axes.grid(visible=False, axis="x")
        _place_legend(figure, axes)
    return done() if drawn else None


def _error_bars(errors: Sequence[float]) -> Sequence[float] | None:
    """Standard deviations to draw, or None when there are none."""
    return errors if any(errors) else None


def _training_chart(
    results: ExperimentResults, model: str, name: str, part: str, severity: str | None
) -> Markup | None:
    of_severity = "" if severity is None else f", {severity_label(severity)}"
    conditions = conditions_of(results)
    styles = styles_of(conditions)
    drawn: set[str] = set()
    with svg_figure(f"{part.capitalize()} loss{of_severity}: {name}") as (figure, axes, done):
        for condition in conditions:
            colour, marker = styles[condition]
            for record in _records(results, model, condition):
                points = _curve(record, part, severity)
                if points:
                    x, y = zip(*points, strict=True)
                    label = None if condition in drawn else _legend(condition)
                    # A single point, or the few of validation, would not be seen as a bare line.
                    shown = marker if part == "validation" or len(points) == 1 else None
                    axes.plot(
                        x, y, color=colour, marker=shown, markersize=4, linewidth=1.3,
                        alpha=0.85, label=label,
                    )  # fmt: skip
                    drawn.add(condition)
        axes.set(xlabel="step", ylabel="nats per token")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _place_legend(figure, axes)
    return done() if drawn else None


def _curve(record: ResultRecord, part: str, severity: str | None) -> list[tuple[int, float]]:
    def loss(point: TrainingPoint) -> float | None:
        if severity is not None:
            return point.validation_loss_by_severity.get(severity)
        return point.loss if part == "training" else point.validation_loss

    history = record.training.history if record.training is not None else []
    return [(point.step, value) for point in history if (value := loss(point)) is not None]


def _records(results: ExperimentResults, model: str, condition: str) -> list[ResultRecord]:
    return [one for one in results.records if (one.model, one.condition) == (model, condition)]


def _legend(condition: str) -> str:
    # Matplotlib leaves labels with a leading underscore out of the legend.
    return latin(condition_label(condition)).lstrip("_") or "?"


def _place_legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
