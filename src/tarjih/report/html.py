"""One self-contained HTML file: no script, no request to anywhere, everything escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tarjih.files import write_text
from tarjih.records import ExperimentResults
from tarjih.report.annotator import annotator_quality
from tarjih.report.examples import examples_of
from tarjih.report.names import condition_label, conditions_of, runs, severity_label
from tarjih.report.pages import render_page
from tarjih.report.plots import severity_charts, styles_of, training_charts, weight_chart
from tarjih.report.summary import flat_conditions, spread_sentence, summary_sentences
from tarjih.report.tables import METRICS, failures, result_table, severity_table

REPORT_FILE = "report.html"


def write_report(results: ExperimentResults, folder: Path) -> Path:
    """Write `report.html` into the folder and give its path.

    Args:
        results: what the experiment found; anything may be missing.
        folder: the experiment's folder, which the paths of the answers are relative to.
    """
    path = folder / REPORT_FILE
    write_text(path, render_page("report.html.j2", _context(results, folder)))
    return path


def _context(results: ExperimentResults, folder: Path) -> dict[str, Any]:
    return {
        "results": results,
        "summary": summary_sentences(results),
        "tables": [result_table(results, key) for key in METRICS],
        "failures": failures(results),
        "severity_tables": [
            table
            for key in ("response_loss", "bertscore_f1")
            if (table := severity_table(results, key)).rows
        ],
        "severity_charts": list(severity_charts(results)),
        "severity_label": severity_label,
        "runs": runs,
        "unlabelled": _unlabelled(results),
        "weights": _weights(results),
        "training_charts": list(training_charts(results)),
        "annotator": list(annotator_quality(results.severity)),
        "models_with_examples": list(examples_of(results, folder)),
        "signatures": _signatures(results),
        "data": _plain_rows(results.data),
        "settings": _pretty(results.settings),
        "signature": _pretty(results.signature),
        "severity_settings": _pretty(results.severity),
    }


def _weights(results: ExperimentResults) -> list[dict[str, Any]]:
    """The first spread of each condition, drawn on one common axis."""
    first = {
        condition: record.weights
        for condition in conditions_of(results)
        for record in reversed(results.records)
        if record.condition == condition and record.weights is not None
    }
    if not first:
        return []
    low = min(spread.minimum for spread in first.values())
    high = max(spread.maximum for spread in first.values())
    margin = 0.05 * (high - low) or 0.05
    styles = styles_of(conditions_of(results))
    flat = flat_conditions(results)
    return [
        {
            "label": condition_label(condition),
            "chart": weight_chart(
                condition, spread, (low - margin, high + margin), styles[condition][0]
            ),
            "words": spread_sentence(spread),
            "flat": condition_label(condition) in flat,
        }
        for condition, spread in first.items()
    ]


def _unlabelled(results: ExperimentResults) -> int:
    counts = (one.scores.unlabelled_severities for one in results.records if one.scores is not None)
    return max(counts, default=0)


def _signatures(results: ExperimentResults) -> list[dict[str, Any]]:
    """Every signature of every metric; more than one means that scores do not compare."""
    found: dict[str, dict[str, None]] = {}
    for record in results.records:
        if record.scores is not None:
            for name, signature in record.scores.signatures.items():
                found.setdefault(name, {})[signature] = None
    return [
        {
            "name": METRICS[name].label if name in METRICS else name,
            "values": list(values),
            # Counts describe the answers, not the metric: they may differ.
            "differ": len(values) > 1 and name in METRICS,
        }
        for name, values in found.items()
    ]


def _plain_rows(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            key.replace("_", " "),
            _pretty(value) if isinstance(value, dict | list) else _in_words(value),
        )
        for key, value in data.items()
    ]


def _in_words(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) if value else ""
