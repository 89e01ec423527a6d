from __future__ import annotations

import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from rich.console import Console

from tarjih.records import SEVERITIES, Consultation, Severity, SeverityDistribution
from tarjih.report.severity_plots import WeightPanel, common_edges, weight_panels
from tarjih.report.weights import WeightChoice, draw_weights, print_weights
from tarjih.weighting import (
    probabilities_of,
    severity_weights,
    weight_spread,
    weighting_from_text,
)

ROWS = np.random.default_rng(0).dirichlet([1, 1, 1], size=200)
CONSULTATIONS = [
    Consultation(
        str(n), "c", "r " * (n % 9 + 1), probabilities=SeverityDistribution(*map(float, p))
    )
    for n, p in enumerate(ROWS)
]
WORDS = np.array([len(one.response.split()) for one in CONSULTATIONS])


def choices_of(*names: str) -> list[WeightChoice]:
    choices = []
    for name in names:
        weighting = weighting_from_text(name)
        probabilities = probabilities_of(CONSULTATIONS, weighting)
        weights = severity_weights(probabilities, weighting, seed=0, tokens=WORDS)
        choices.append(WeightChoice(name, weights, weight_spread(weights, CONSULTATIONS, WORDS)))
    return choices


def printed(choices: list[WeightChoice]) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    print_weights(choices, "words", console)
    return console.export_text()


def test_the_table_shows_who_gets_the_gradient() -> None:
    text = printed(choices_of("uniform", "strong"))
    most_likely = np.array([SEVERITIES.index(c.severity or SEVERITIES[0]) for c in CONSULTATIONS])
    weights = ROWS @ np.array([0.25, 1, 1.75])
    critical = (weights * WORDS)[most_likely == 2].sum() / (weights * WORDS).sum()
    plain = WORDS[most_likely == 2].sum() / WORDS.sum()
    effective = weights.sum() ** 2 / (200 * (weights**2).sum())
    uniform, strong = (re.search(rf"^{name} .*$", text, re.M) for name in ("uniform", "strong"))
    assert uniform is not None
    assert strong is not None
    assert uniform[0].split() == ["uniform", "1.000", "1.000", "1.000", "100.0%"] + [
        f"{WORDS[most_likely == place].sum() / WORDS.sum():.1%}" for place in range(3)
    ]
    assert strong[0].split()[-1] == f"{critical:.1%}"
    assert strong[0].split()[4] == f"{effective:.1%}"
    assert critical > plain
    assert "weight \u00b7 words" in text


def test_histograms_share_one_axis() -> None:
    text = printed(choices_of("uniform", "mild", "strong"))
    bars = dict(re.findall(r"^(\w+) +\|(.*)\|$", text, re.M))
    assert {len(bar) for bar in bars.values()} == {40}
    filled = {name: len(bar.strip()) for name, bar in bars.items()}
    assert filled["uniform"] == 1
    assert filled["uniform"] < filled["mild"] < filled["strong"] <= 40
    assert all("\u2588" in bar for bar in bars.values())
    lowest, highest = re.findall(r"\d\.\d\d", text.split("|\n")[-1].splitlines()[0])
    strong = ROWS @ np.array([0.25, 1, 1.75])
    assert (float(lowest), float(highest)) == pytest.approx((strong.min(), strong.max()), abs=0.01)


def test_eighty_columns_are_enough_for_long_names_and_markup_stays_text() -> None:
    text = printed(choices_of("alpha=0.1,beta=1,gamma=3,sharpness=2.5", "balanced"))
    assert max(map(len, text.splitlines())) <= 80
    (choice,) = choices_of("mild")
    hostile = WeightChoice("[red]x[/red]", choice.weights, choice.spread)
    assert "[red]x[/red]" in printed([hostile])


def test_equal_weights_alone_can_be_shown_and_drawn(tmp_path: Path) -> None:
    (choice,) = choices_of("uniform")
    assert "1.000" in printed([choice])
    draw_weights([choice], CONSULTATIONS, tmp_path / "w.png")
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")
    edges = common_edges(np.ones(5), 4)
    assert len(edges) == 5
    assert edges[0] < 1 < edges[-1]


def test_what_has_no_severity_is_shown_as_a_dash() -> None:
    bare = [Consultation(str(n), "c", "r") for n in range(4)]
    weights = np.ones(4)
    choice = WeightChoice("uniform", weights, weight_spread(weights, bare, np.ones(4, dtype=int)))
    (line,) = re.findall(r"^uniform .*%.*$", printed([choice]), re.M)
    assert line.split()[-3:] == ["-", "-", "-"]


@pytest.mark.parametrize(("ending", "start"), [(".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_plots_are_written_as_their_name_says(ending: str, start: bytes, tmp_path: Path) -> None:
    choices = choices_of("uniform", "balanced")
    for name in ("a", "b"):
        draw_weights(choices, CONSULTATIONS, tmp_path / name / f"weights{ending}")
    first, second = ((tmp_path / name / f"weights{ending}").read_bytes() for name in "ab")
    assert first.startswith(start)
    assert first == second


def test_the_plot_says_what_the_weights_come_to(tmp_path: Path) -> None:
    (choice,) = choices_of("strong")
    draw_weights([choice], CONSULTATIONS, tmp_path / "w.svg")
    root = ET.parse(tmp_path / "w.svg").getroot()  # noqa: S314
    texts = {"".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")}
    kept = choice.spread.effective_sample_share
    critical = choice.spread.gradient_share_by_severity["critical"]
    assert f"strong: effective sample {kept:.1%}, critical {critical:.1%} of the gradient" in texts
    assert {"non-critical", "neutral", "critical"} <= texts


def test_bars_hold_every_example_in_the_colour_of_its_severity() -> None:
    by_severity = {
        Severity.NON_CRITICAL: np.array([0.5, 0.5, 0.6]),
        Severity.CRITICAL: np.array([1.5, 1.4]),
    }
    figure = weight_panels([WeightPanel("x", "y", by_severity)])
    (axes,) = figure.axes
    heights = [sum(bar.get_height() for bar in part) for part in axes.containers]
    assert heights == [3, 2]
    colours = {part[0].get_facecolor() for part in axes.containers}
    assert len(colours) == 2
