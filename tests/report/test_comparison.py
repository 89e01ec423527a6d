from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest

from fake_annotator import fake_consultations, register_fakes, without_plots
from tarjih.report.annotator import MEASURES
from tarjih.report.comparison import (
    PAGE_FILE,
    aim,
    comparison_page,
    difference_rows,
    measure_rows,
    print_comparison,
    triage_cells,
    triage_rows,
    write_comparison,
)
from tarjih.report.severity_plots import reliability_figure, wilson
from tarjih.severity.compare import chosen_annotators, compare_annotators
from tarjih.severity.comparison import (
    Comparison,
    ComparisonSettings,
    Difference,
    ReliabilityBin,
)
from tarjih.severity.measures import SeverityMeasures
from tarjih.severity.resampling import Estimate

from .page import Page


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    settings = ComparisonSettings(folds=2, resamples=100)
    with pytest.MonkeyPatch.context() as patch:
        register_fakes(patch)
        yield compare_annotators(
            fake_consultations(90),
            chosen_annotators([], settings),
            settings,
            tmp_path_factory.mktemp("comparison"),
        )


def with_names(comparison: Comparison, *names: str) -> Comparison:
    """The same numbers under other names, as many annotators as there are names."""
    annotators = [
        comparison.annotators[place % 2].model_copy(update={"name": name})
        for place, name in enumerate(names)
    ]
    differences = [
        one.model_copy(update={"name": name})
        for name in names[1:]
        for one in comparison.differences
    ]
    return comparison.model_copy(
        update={"annotators": tuple(annotators), "differences": tuple(differences)}
    )


def printed(comparison: Comparison) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    print_comparison(comparison, console)
    return console.export_text()


def test_every_measure_that_is_made_is_shown(comparison: Comparison) -> None:
    made = {
        name
        for name, field in SeverityMeasures.model_fields.items()
        if field.annotation in (float, float | None)
    }
    assert set(MEASURES) == made == set(comparison.annotators[0].measures)
    assert [row.name for row in measure_rows(comparison)] == list(MEASURES.values())


def test_cells_show_the_numbers_and_their_intervals(comparison: Comparison) -> None:
    row = measure_rows(comparison)[0]
    for cell, one in zip(row.cells, comparison.annotators, strict=True):
        accuracy = one.measures["accuracy"]
        assert cell.value == f"{accuracy.value:.3f}"
        assert cell.interval == f"{accuracy.low:.3f}\u2013{accuracy.high:.3f}"
        assert cell.p == ""


def test_differences_have_signs_and_p_values(comparison: Comparison) -> None:
    found = Difference(
        name="poor",
        measure="accuracy",
        difference=Estimate(value=0.0341, low=-0.012, high=0.08),
        p=0.01,
        p_corrected=0.0396,
    )
    nothing = Difference(
        name="poor",
        measure="quadratic_kappa",
        difference=Estimate(value=None, low=None, high=None),
        p=None,
        p_corrected=None,
    )
    changed = comparison.model_copy(update={"differences": (found, nothing)})
    accuracy, kappa = difference_rows(changed)
    (cell,) = accuracy.cells
    assert (cell.value, cell.interval) == ("+0.034", "\u22120.012 to +0.080")
    assert cell.p == "p 0.040"
    (cell,) = kappa.cells
    assert (cell.value, cell.interval, cell.p) == ("\u2013", "", "")


def test_under_triage_is_in_percent(comparison: Comparison) -> None:
    plain, first, *_ = comparison.annotators[0].triage
    assert (aim(plain), aim(first)) == ("none", "at most 30 %")
    rate = first.measures["under_triage_rate"]
    cell = triage_cells(first)[0]
    assert cell.value == f"{100 * (rate.value or 0):.1f} %"
    assert cell.interval == f"{100 * (rate.low or 0):.1f}\u2013{100 * (rate.high or 0):.1f}"


def test_aims_that_are_kept_anyway_are_left_out(comparison: Comparison) -> None:
    plain, *aimed = comparison.annotators[0].triage
    free, costly = aimed[0], aimed[1]
    changed = comparison.annotators[0].model_copy(
        update={
            "triage": (
                plain,
                free.model_copy(update={"penalties": (0.0, 0.0)}),
                costly.model_copy(update={"penalties": (0.0, 0.3)}),
                costly.model_copy(update={"penalties": (None, None)}),
            )
        }
    )
    assert [one.penalties for one in triage_rows(changed)] == [(), (0.0, 0.3), (None, None)]


def test_intervals_of_shares_are_those_of_scipy() -> None:
    for right, count in ((0, 1), (3, 3), (7, 20), (500, 915)):
        expected = binomtest(right, count).proportion_ci(0.95, "wilson")
        assert wilson(right / count, count) == pytest.approx(
            (expected.low, expected.high), abs=1e-6
        )


def test_bins_of_few_complaints_are_hollow_and_off_the_line(comparison: Comparison) -> None:
    one = comparison.annotators[0]
    bins = tuple(
        ReliabilityBin(count=count, stated=stated, observed=stated)
        for count, stated in ((3, 0.1), (50, 0.4), (60, 0.6), (0, None))
    )
    found = one.reliability.model_copy(update={"confidence": bins})
    axes = reliability_figure(one.model_copy(update={"reliability": found})).axes[0]
    diagonal, *points, line = axes.lines
    assert np.asarray(diagonal.get_xdata()).tolist() == [0, 1]
    assert [point.get_markerfacecolor() == "white" for point in points] == [True, False, False]
    assert np.asarray(line.get_xdata()).tolist() == [0.4, 0.6]


def test_a_terminal_of_80_columns_is_enough(comparison: Comparison) -> None:
    for names in (["linear", "poor"], ["lexicon", "linear", "encoder", "ensemble", "a-name" * 5]):
        text = printed(with_names(comparison, *names))
        assert max(map(len, text.splitlines())) <= 80
        assert "\u2026" not in text  # nothing is cut off
        for name in MEASURES.values():
            assert name.label in text
        assert f"Difference to {names[0]}" in text
        assert "at most 10 %" in text
    good = comparison.annotators[0].measures["log_loss"]
    assert f"{good.value:.3f}" in printed(comparison)


def test_one_annotator_has_no_differences(comparison: Comparison) -> None:
    alone = comparison.model_copy(
        update={"annotators": comparison.annotators[:1], "differences": ()}
    )
    assert "Difference" not in printed(alone)
    assert "differences" not in Page(comparison_page(alone)).ids()


def test_the_page_is_whole_and_asks_nothing_of_the_network(comparison: Comparison) -> None:
    html = comparison_page(comparison)
    page = Page(html)
    assert page.mismatches == []
    assert page.open_tags == []
    assert len(page.ids()) == len(set(page.ids()))
    anchors = {value[1:] for value in page.loads() if value.startswith("#")}
    assert anchors <= set(page.ids())
    assert all(value.startswith("#") for value in page.loads())
    assert not re.search(r"url\((?!#)", html)
    assert "script" not in {tag for tag, _ in page.tags}
    for section in ("measures", "differences", "triage", "annotators", "details"):
        assert section in page.ids()
    assert "Research, not medical advice." in page.text
    plots = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(plots) == 3  # the trade-off, and the reliability of two
    assert f"{comparison.annotators[1].measures['brier_score'].value:.3f}" in page.text
    assert '"resamples": 100' in page.text
    assert [attrs.get("class") for tag, attrs in page.tags if tag == "tr"].count("group") == 1


def test_plots_are_written_twice_and_the_same_each_time(
    comparison: Comparison, tmp_path: Path
) -> None:
    alone = comparison.model_copy(
        update={"annotators": comparison.annotators[:1], "differences": ()}
    )
    page = write_comparison(alone, tmp_path / "one")
    assert page == tmp_path / "one" / PAGE_FILE
    write_comparison(alone, tmp_path / "two")
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    stems = ["confusion-good", "reliability-good"]
    expected = [f"{stem}{end}" for stem in [*stems, "under-triage"] for end in (".png", ".svg")]
    assert names == sorted([*expected, PAGE_FILE])
    for name in names:
        data = (tmp_path / "one" / name).read_bytes()
        assert data == (tmp_path / "two" / name).read_bytes()
        if name.endswith(".png"):
            assert data.startswith(b"\x89PNG")
    counts = [one.count for one in comparison.annotators[0].reliability.confidence if one.count]
    drawn = (tmp_path / "one" / "reliability-good.svg").read_text(encoding="utf-8")
    assert all(f">{count}</text>" in drawn for count in counts)


def test_names_of_annotators_are_only_text(comparison: Comparison) -> None:
    hostile = with_names(comparison, "[red]x[/red]", "<script>y")
    text = printed(hostile)
    assert "[red]x[/red]" in text
    assert "<script>y" in text
    html = comparison_page(hostile)
    assert "script" not in {tag for tag, _ in Page(html).tags}
    assert "<script>y" in Page(html).text


def test_what_is_shown_comes_from_the_file_alone(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Comparison.model_validate(json.loads(comparison.model_dump_json()))
    assert read == comparison
    without_plots(monkeypatch)
    assert comparison_page(read) == comparison_page(comparison)
