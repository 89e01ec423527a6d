"""Running commands: in this process, or in one that a signal can end at a chosen moment."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tarjih.cli.app import app

_PATIENCE = 900.0  # seconds after which a command counts as hanging; a busy machine is slow
_PRELOADED = [
    "tarjih.experiment.run",
    "tarjih.report.html",
    "tarjih.report.terminal",
    "tarjih.training.trainer",
    "peft",
]


@dataclass(frozen=True)
class Finished:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def shown(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Fault:
    """A signal that the process sends itself at the n-th call of a function."""

    function: str  # "package.module:name" or "package.module:Class.name"
    call: int = 1
    signal: int = signal.SIGKILL


def run_here(*arguments: object) -> Finished:
    """Run `tarjih ARGUMENTS...` in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Finished(result.exit_code, result.stdout, result.stderr)


def run_apart(log: Path, *arguments: object, fault: Fault | None = None) -> Finished:
    """Run `tarjih ARGUMENTS...` in a process of its own, with a signal at a chosen moment.

    Processes are forked from one that has imported everything, for importing takes seconds. A
    process that a signal ended has the signal's negative number for its code.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process: ForkServerProcess = context.Process(
        target=_main, args=([str(argument) for argument in arguments], str(log), fault)
    )
    process.start()
    process.join(_PATIENCE)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"{arguments} did not end:\n{log.read_text(encoding='utf-8')}")
    code = process.exitcode
    process.close()
    return Finished(code, "", log.read_text(encoding="utf-8"))


def _main(arguments: list[str], log: str, fault: Fault | None) -> None:
    with Path(log).open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["COLUMNS"] = "80"
    if fault is not None:
        _arm(fault)
    try:
        app(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _arm(fault: Fault) -> None:
    module, _, name = fault.function.partition(":")
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    real = getattr(owner, last)
    calls = 0

    def armed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == fault.call:
            os.kill(os.getpid(), fault.signal)
        return real(*args, **kwargs)

    setattr(owner, last, armed)
