"""How every plot looks, and how it is written: as inline SVG, or as a file."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from tarjih.files import atomic_file, sha256_of
from tarjih.records import Severity
from tarjih.report.names import latin

SIZE = (5.4, 3.3)  # inches
# Of Okabe and Ito's palette, which the colour-blind can tell apart.
SEVERITY_COLOURS = {
    Severity.NON_CRITICAL: "#56b4e9",
    Severity.NEUTRAL: "#e69f00",
    Severity.CRITICAL: "#d55e00",
}
_LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, found and printed sharply
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#6b7280",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_DATES = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_DOTS_PER_INCH = 150


@contextmanager
def look() -> Iterator[None]:
    """Figures are made and written in this."""
    with mpl.rc_context(_LOOK):
        yield


@contextmanager
def svg_figure(
    title: str, size: tuple[float, float] = SIZE
) -> Iterator[tuple[Any, Any, Callable[[], Markup]]]:
    """A figure, its axes, and the function that gives the SVG once the block is left."""
    rendered: list[Markup] = []
    with look():
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(latin(title), loc="left", fontsize=11, fontweight="bold")
        yield figure, axes, lambda: rendered[0]
        rendered.append(inline_svg(figure, title))


def inline_svg(figure: Any, title: str) -> Markup:
    """A figure as SVG that can stand in an HTML page beside others with other titles."""
    # The salt makes ids depend on the content only, and differ between the plots of a page.
    with look(), mpl.rc_context({"svg.hashsalt": title}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), title)


def save_figure(figure: Any, out: Path) -> None:
    """Write a figure as the name says: .svg, .png or .pdf; equal figures give equal bytes."""
    suffix = out.suffix.lower()
    with atomic_file(out) as temporary, look(), mpl.rc_context({"svg.hashsalt": out.name}):
        figure.savefig(
            temporary,
            format=suffix.removeprefix("."),
            dpi=_DOTS_PER_INCH,
            metadata=_DATES.get(suffix),
        )
    figure.set_layout_engine("none")  # what was laid out once stays so: it takes most of the time


def _inline(svg: str, title: str) -> Markup:
    """Matplotlib's SVG document made fit to stand in an HTML page beside others."""
    prefix = f"p{sha256_of(title)[:8]}-"  # two plots of a page must not share an id
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    label = escape(latin(title))
    # The size in points would keep a plot from shrinking on a phone; its viewBox is enough.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))  # noqa: S704
