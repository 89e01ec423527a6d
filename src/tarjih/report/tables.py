"""The tables of a report as data: the HTML and the terminal show the same numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tarjih.records import SEVERITIES, ExperimentResults, MetricSlice, ResultRecord
from tarjih.report.names import (
    condition_label,
    conditions_of,
    models_of,
    severity_label,
    short_model_names,
)

ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of `MetricSlice` and how to show it."""

    key: str
    label: str
    unit: str
    better: str
    decimals: int


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("bertscore_f1", "BERTScore F1", "0 to 100", "higher is better", 2),
        Metric("response_loss", "Response loss", "nats per token", "lower is better", 3),
        Metric("chrf", "chrF++", "0 to 100", "higher is better", 2),
        Metric("rouge_l", "ROUGE-L F1", "0 to 100", "higher is better", 2),
        Metric("empty_share", "Empty answers", "% of answers", "lower is better", 1),
        Metric("repetitive_share", "Repetitive answers", "% of answers", "lower is better", 1),
        Metric(
            "stopped_share",
            "Answers that stopped by themselves",
            "% of answers",
            "higher is better",
            1,
        ),
        Metric(
            "length_ratio", "Length of answers", "words / words of the doctors", "1 is alike", 2
        ),
    )
}
"""In the order in which a report shows them; the paper's own metric first."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean over the seeds of one model under one condition.

    `deviation` is the sample standard deviation over seeds, None for fewer than two. `errors` are
    those of the seeds that failed.
    """

    text: str
    mean: float | None
    deviation: float | None
    seeds: int
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResultRow:
    """`labels` say what the row is about; there is one cell for each condition."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class ResultTable:
    """Rows of cells; `headers` name the labels first, then the conditions."""

    metric: Metric
    headers: tuple[str, ...]
    rows: tuple[ResultRow, ...]


def result_table(results: ExperimentResults, metric: str) -> ResultTable:
    """The paper's layout: a row for each model, a column for each condition that occurs.

    Args:
        results: what the experiment found.
        metric: a key of `METRICS`.
    """
    shown = METRICS[metric]
    names = short_model_names(models_of(results))
    rows = [
        ResultRow((names[model],), _cells(results, model, shown)) for model in models_of(results)
    ]
    return ResultTable(shown, ("Model", *_condition_labels(results)), tuple(rows))


def severity_table(results: ExperimentResults, metric: str) -> ResultTable:
    """A row for each model and severity, a column for each condition that occurs."""
    shown = METRICS[metric]
    names = short_model_names(models_of(results))
    rows = [
        ResultRow(
            (names[model], severity_label(severity), str(examples)),
            _cells(results, model, shown, severity),
        )
        for model in models_of(results)
        for severity, examples in _severities_of(results, model).items()
    ]
    headers = ("Model", "Severity", "Answers", *_condition_labels(results))
    return ResultTable(shown, headers, tuple(rows))


def format_number(value: float | None, decimals: int) -> str:
    """A number with that many decimals and a true minus sign; a dash for none."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:.{decimals}f}"
    return text.replace("-", "\u2212") if float(text) else f"{0.0:.{decimals}f}"  # no minus zero


def _condition_labels(results: ExperimentResults) -> list[str]:
    return [condition_label(condition) for condition in conditions_of(results)]


def _severities_of(results: ExperimentResults, model: str) -> dict[str, int]:
    """Severity -> number of answers, in the order of severity, for those that occur."""
    counts: dict[str, int] = {}
    for record in results.records:
        if record.model == model and record.scores is not None:
            for name, part in record.scores.by_severity.items():
                counts[name] = max(counts.get(name, 0), part.examples)
    return {str(severity): counts[severity] for severity in SEVERITIES if severity in counts}


def _cells(
    results: ExperimentResults,
    model: str,
    metric: Metric,
    severity: str | None = None,
) -> tuple[Cell, ...]:
    return tuple(
        make_cell(
            [one for one in results.records if (one.model, one.condition) == (model, condition)],
            metric,
            severity,
        )
        for condition in conditions_of(results)
    )


def make_cell(records: Sequence[ResultRecord], metric: Metric, severity: str | None) -> Cell:
    """Mean and standard deviation over the records (seeds) of one model and condition.

    Args:
        records: none or more.
        metric: what to show.
        severity: restrict to the answers to complaints of this severity.
    """
    values = [
        value for one in records if (value := value_of(one, metric.key, severity)) is not None
    ]
    errors = tuple(
        f"seed {one.seed}: {one.error or 'no reason given'}"
        for one in records
        if one.status == "failed"
    )
    mean = statistics.fmean(values) if values else None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Cell(_cell_text(mean, deviation, errors, metric), mean, deviation, len(values), errors)


def value_of(record: ResultRecord, key: str, severity: str | None = None) -> float | None:
    """One number of a record; None where it is absent or not finite."""
    if record.scores is None:
        return None
    part: MetricSlice | None = record.scores.overall
    if severity is not None:
        part = record.scores.by_severity.get(severity)
    value = None if part is None else getattr(part, key)
    return float(value) if value is not None and math.isfinite(value) else None


def _cell_text(
    mean: float | None, deviation: float | None, errors: Sequence[str], metric: Metric
) -> str:
    if mean is None:
        return "failed" if errors else ABSENT
    text = format_number(mean, metric.decimals)
    if deviation is not None:
        text += f" ± {format_number(deviation, metric.decimals)}"
    return f"{text} ({len(errors)} failed)" if errors else text


def failures(results: ExperimentResults) -> list[tuple[str, str, int, str]]:
    """(model, condition, seed, error) of every run that failed."""
    names = short_model_names(models_of(results))
    return [
        (names[one.model], condition_label(one.condition), one.seed, one.error or "no reason given")
        for one in results.records
        if one.status == "failed"
    ]
