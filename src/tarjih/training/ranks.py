"""The processes of a run: one, or as many as `accelerate launch` started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tarjih.models.load import ModelSettings, chosen_hardware
from tarjih.progress import SILENT, Reporter


def join_ranks(settings: ModelSettings) -> Any:
    """Meet the other processes of this run.

    Returns:
        Accelerate's `PartialState`: `num_processes`, `process_index`, `is_main_process`.
    """
    from accelerate import PartialState

    return PartialState(cpu=chosen_hardware(settings)["device"] == "cpu")


@contextmanager
def first_one_first(ranks: Any) -> Iterator[None]:
    """The first process runs the block before the others do, even where it fails in it.

    Accelerate's own `main_process_first` leaves the others waiting then, and they would report
    that the first is gone in place of what is wrong.
    """
    if not ranks.is_main_process:
        ranks.wait_for_everyone()
    try:
        yield
    finally:
        if ranks.is_main_process:
            ranks.wait_for_everyone()


def reporter_of(ranks: Any, reporter: Reporter) -> Reporter:
    """Only the first process speaks."""
    return reporter if ranks.is_main_process else SILENT
