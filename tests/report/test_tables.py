from __future__ import annotations

import io
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tarjih.records import ExperimentResults
from tarjih.report.tables import METRICS, format_number, result_table, severity_table
from tarjih.report.terminal import print_results

from .demo import make_record, make_results, make_scores, make_slice


@pytest.fixture
def results() -> ExperimentResults:
    def scores(loss: float, critical: float) -> object:
        return make_scores(
            make_slice(response_loss=loss),
            {
                "critical": make_slice(7, response_loss=critical),
                "non_critical": make_slice(9, response_loss=None),
            },
        )

    return make_results(
        make_record("org/b", "zeta", 1, scores=scores(1.0, 1.5)),
        make_record("org/b", "balanced", 1, scores=scores(2.0, 2.5)),
        make_record("org/b", "balanced", 2, scores=scores(4.0, 3.5)),
        make_record("org/b", "balanced", 3, status="failed", error="out of memory"),
        make_record("a", "uniform", 1, scores=scores(3.25, 3.0)),
        make_record("a", "balanced", 1, status="failed", error="[bold]x[/bold]"),
    )


def test_layout_and_numbers(results: ExperimentResults) -> None:
    table = result_table(results, "response_loss")
    assert table.headers == ("Model", "CE", "SA balanced", "zeta")
    assert [row.labels for row in table.rows] == [("b",), ("a",)]
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["–", "3.000 ± 1.414 (1 failed)", "1.000"],
        ["3.250", "failed", "–"],
    ]
    cell = table.rows[0].cells[1]
    assert (cell.mean, cell.seeds, cell.errors) == (3.0, 2, ("seed 3: out of memory",))
    assert cell.deviation == pytest.approx(2**0.5)
    assert table.rows[0].cells[2].deviation is None


def test_by_severity_from_mild_to_severe(results: ExperimentResults) -> None:
    table = severity_table(results, "response_loss")
    assert table.headers[:3] == ("Model", "Severity", "Answers")
    assert [row.labels for row in table.rows] == [
        ("b", "non-critical", "9"),
        ("b", "critical", "7"),
        ("a", "non-critical", "9"),
        ("a", "critical", "7"),
    ]
    assert [cell.text for cell in table.rows[1].cells] == [
        "–",
        "3.000 ± 0.707 (1 failed)",
        "1.500",
    ]
    assert [cell.text for cell in table.rows[2].cells] == ["–", "failed", "–"]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_cell_is_mean_and_sample_deviation(values: list[float]) -> None:
    results = make_results(
        *(
            make_record("m", "mild", seed, scores=make_scores(make_slice(chrf=value)))
            for seed, value in enumerate(values)
        )
    )
    (row,) = result_table(results, "chrf").rows
    assert row.cells[0].mean == pytest.approx(sum(values) / len(values))
    if len(values) > 1:
        assert row.cells[0].deviation == pytest.approx(
            statistics.pstdev(values) * (len(values) / (len(values) - 1)) ** 0.5, abs=1e-9
        )


def test_scores_that_are_no_numbers_do_not_count() -> None:
    results = make_results(
        make_record("m", "mild", 1, scores=make_scores(make_slice(chrf=float("nan")))),
        make_record("m", "mild", 2, scores=make_scores(make_slice(chrf=4.0))),
    )
    assert result_table(results, "chrf").rows[0].cells[0].text == "4.00"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.005, "1.00"), (-0.5, "\u22120.50"), (-0.001, "0.00"), (None, "–"), (float("inf"), "–")],
)
def test_format_number(value: float | None, text: str) -> None:
    assert format_number(value, 2) == text


def test_every_metric_is_a_score() -> None:
    assert set(METRICS) <= set(make_slice().model_dump())
    assert next(iter(METRICS)) == "bertscore_f1"  # as in the paper


def printed(results: ExperimentResults, width: int = 120) -> str:
    buffer = io.StringIO()
    print_results(results, Console(file=buffer, width=width, force_terminal=False))
    return buffer.getvalue()


def test_terminal_shows_the_same_numbers(results: ExperimentResults) -> None:
    text = printed(results)
    assert "BERTScore F1" in text
    assert "3.000 ± 0.707" in text
    assert "failed: a, SA balanced, seed 1: [bold]x[/bold]" in text  # shown, not obeyed
    assert "means over 1 to 2 seeds" in " ".join(text.split())


def test_markup_in_a_name_is_shown_and_not_obeyed() -> None:
    text = printed(make_results(make_record("[red]m", "[bold]c", 1)))
    assert "[red]m" in text
    assert "[bold]c" in text


def test_terminal_without_runs_or_in_a_narrow_window(results: ExperimentResults) -> None:
    assert "no runs yet" in printed(make_results())
    assert printed(results, width=40)


def test_terminal_is_safe_from_escape_sequences() -> None:
    results = make_results(
        make_record("\x1b[31mred", "mild", 1, status="failed", error="\x1b]0;title\x07")
    )
    assert "\x1b" not in printed(results)
