"""Text of either direction on a terminal, isolated from what stands around it.

A terminal that knows text direction would else show numbers and names beside Arabic out of order.
"""

from __future__ import annotations

import textwrap

from tarjih.report.names import direction, showable

_ISOLATE, _RTL_ISOLATE, _LTR_ISOLATE, _END_ISOLATE = "\u2068", "\u2067", "\u2066", "\u2069"


def isolated(text: str, begin: str = _ISOLATE) -> str:
    """A text of unknown direction that leaves the order of what is around it alone."""
    shown = showable(text)
    return shown if shown.isascii() else f"{begin}{shown}{_END_ISOLATE}"


def lines_to_read(text: str, width: int) -> list[str]:
    """A text in lines, each isolated, for a terminal takes each for a paragraph of its own."""
    begin = _RTL_ISOLATE if direction(text) == "rtl" else _LTR_ISOLATE
    return [
        isolated(line, begin)
        for paragraph in showable(text).splitlines()
        for line in textwrap.wrap(paragraph.strip(), width)
    ]
