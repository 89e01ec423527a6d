"""How stages tell what they are doing; the command line decides how that looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


class Reporter:
    """Hears of progress and of warnings, and says nothing. Subclasses speak."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """A stretch of work of `total` units; call what it gives with the units done since."""
        yield lambda _: None

    def note(self, text: str) -> None:
        """Something worth a line."""

    def warn(self, text: str) -> None:
        """Something that the user should act on, though the work goes on."""


SILENT = Reporter()


def from_totals(advance: Advance) -> Advance:
    """A callback for work that tells how much is done in all; a stage wants how much more."""
    told = 0

    def progress(done: int) -> None:
        nonlocal told
        advance(done - told)
        told = done

    return progress
