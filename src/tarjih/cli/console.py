"""What the command line shows: progress, notes, warnings, and errors that say what to do."""

from __future__ import annotations

import errno
import functools
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tarjih.errors import BadInputError, TarjihError
from tarjih.progress import Advance, Reporter

P = ParamSpec("P")
R = TypeVar("R")

# Of several processes that `accelerate launch` started, the first one speaks; all report errors.
out = Console(quiet=os.environ.get("RANK", "0") != "0")
err = Console(stderr=True)
_SECONDS_BETWEEN_LINES = 30.0
_INTERRUPTED = 130
_WRONG_PATHS = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def say_written(path: Path) -> None:
    """Say where the result is, on one line that can be copied."""
    out.print(f"Written to {path}", markup=False, highlight=False, soft_wrap=True)


class ConsoleReporter(Reporter):
    """Progress bars with a time estimate on a terminal; now and then a line elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=err,
        )
        self._open = 0

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Show a bar for as long as the stage lasts."""
        if not err.is_terminal:
            yield _LineProgress(name, total)
            return
        if self._open == 0:
            self._progress.start()
        self._open += 1
        task = self._progress.add_task(name, total=total)
        try:
            yield lambda done: self._progress.advance(task, done)
        finally:
            self._progress.remove_task(task)
            self._open -= 1
            if self._open == 0:
                self._progress.stop()

    def note(self, text: str) -> None:
        """One line."""
        err.print(escape(text), highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line that stands out."""
        err.print(f"[yellow]Warning:[/] {escape(text)}", highlight=False, soft_wrap=True)


class _LineProgress:
    """Progress where there is no terminal: a line every half minute."""

    def __init__(self, name: str, total: int | None) -> None:
        self._name = name
        self._total = total
        self._done = 0
        self._started = self._told = time.monotonic()

    def __call__(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        estimate = ""
        if self._total and self._done:
            seconds = (now - self._started) / self._done * (self._total - self._done)
            estimate = f" of {self._total}, {_about(seconds)} left"
        err.print(f"{self._name}: {self._done}{estimate}", highlight=False)


def _about(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return "about a minute" if minutes == 1 else f"about {minutes} minutes"


def command(function: Callable[P, R]) -> Callable[P, R]:
    """A command whose errors are one clear message and an exit code, never a traceback."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        _quieten_libraries()
        try:
            return function(*args, **kwargs)
        except typer.Exit:
            raise
        except TarjihError as error:
            raise _ended(str(error), error.exit_code) from None
        except KeyboardInterrupt:
            message = "stopped; what was done is kept: the same command goes on from there"
            raise _ended(message, _INTERRUPTED) from None
        except OSError as error:
            if os.environ.get("TARJIH_TRACEBACK"):
                raise
            code = BadInputError.exit_code if isinstance(error, _WRONG_PATHS) else 1
            raise _ended(_explain(error), code) from None
        except Exception as error:
            if os.environ.get("TARJIH_TRACEBACK"):
                raise
            raise _ended(_unexpected(error), 1) from None

    return wrapped


def _ended(message: str, code: int) -> typer.Exit:
    err.print(f"[red]Error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def _unexpected(error: Exception) -> str:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            "there is not enough memory\nWhat to do: lower batch_size or max_tokens, or set "
            "training.gradient_checkpointing=true; what was finished before is intact"
        )
    return (
        f"this should not have happened ({type(error).__name__})\n"
        "What to do: run it again with TARJIH_TRACEBACK=1 and report what it prints; "
        "leave out what patients wrote"
    )


def _explain(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            "the disk is full\nWhat to do: make room and run the same command again; "
            "what was finished before is intact"
        )
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}\nWhat to do: check the path and its permissions"


def _quieten_libraries() -> None:
    """Other libraries' advice to programmers is noise to a person at the command line."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if not os.environ.get("TARJIH_TRACEBACK"):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
