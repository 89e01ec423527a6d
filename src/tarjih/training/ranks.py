"""The processes of a run: one, or as many as `accelerate launch` started."""

from __future__ import annotations

from typing import Any

from tarjih.models.load import ModelSettings, chosen_hardware
from tarjih.progress import SILENT, Reporter


def join_ranks(settings: ModelSettings) -> Any:
    """Meet the other processes of this run.

    Returns:
        Accelerate's `PartialState`: `num_processes`, `process_index`, `main_process_first()`.
    """
    from accelerate import PartialState

    return PartialState(cpu=chosen_hardware(settings)["device"] == "cpu")


def reporter_of(ranks: Any, reporter: Reporter) -> Reporter:
    """Only the first process speaks."""
    return reporter if ranks.is_main_process else SILENT
