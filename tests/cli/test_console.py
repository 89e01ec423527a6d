from __future__ import annotations

import errno
import io
import re

import pytest
import typer
from rich.console import Console

from tarjih.cli import console
from tarjih.cli.console import ConsoleReporter, command
from tarjih.cli.pairs import read_pairs
from tarjih.errors import DataError, SettingsError, WorkFailedError


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("it is bad", file="a.csv", remedy="mend it"), 2, "a.csv: it is bad\nWhat to do"),
        (WorkFailedError("it diverged"), 1, "Error: it diverged"),
        (KeyboardInterrupt(), 130, "the same command goes on from there"),
        (OSError(errno.ENOSPC, "No space left"), 1, "the disk is full\nWhat to do: make room"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), 2, "a/b: Not a directory"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 2, "check the path"),
        (OSError(errno.EIO, "Input/output error", "a"), 1, "a: Input/output error"),
        (MemoryError(), 1, "lower batch_size"),
        (OutOfMemoryError("CUDA out of memory"), 1, "lower batch_size"),
        (ZeroDivisionError("division by zero"), 1, "TARJIH_TRACEBACK=1"),
    ],
)
def test_every_error_is_a_message_and_an_exit_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def fails() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        fails()
    assert ended.value.exit_code == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_programmers_get_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARJIH_TRACEBACK", "1")

    @command
    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def test_markup_in_messages_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleReporter().note("[red]a[/] [phone] " + "long " * 30)
    ConsoleReporter().warn("[/nothing]")
    shown = capsys.readouterr().err
    assert shown == "[red]a[/] [phone] " + "long " * 30 + "\nWarning: [/nothing]\n"


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (3, "less than a minute left"),
        (5, "about a minute left"),
        (34, "about 11 minutes left"),
    ],
)
def test_without_a_terminal_progress_is_a_line_now_and_then(
    total: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("tarjih.cli.console.time.monotonic", lambda: now[0])
    with ConsoleReporter().stage("training", total) as advance:
        now[0] = 1.0
        advance(1)
        assert capsys.readouterr().err == ""
        now[0] = 40.0
        advance(1)
        assert capsys.readouterr().err == f"training: 2 of {total}, {said}\n"


def test_on_a_terminal_there_is_a_bar_with_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(console, "err", screen)
    reporter = ConsoleReporter()
    with reporter.stage("experiment", 2) as outer, reporter.stage("training", 5) as inner:
        inner(5)
        outer(1)
        reporter._progress.refresh()
    assert isinstance(screen.file, io.StringIO)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.file.getvalue())
    assert "experiment" in shown
    assert "training" in shown
    assert "5/5" in shown


def test_pairs_are_divided_at_the_last_equals_sign() -> None:
    assert read_pairs("--column", ["complaint=a=b ", " x = y"]) == {"complaint=a": "b", "x": "y"}


@pytest.mark.parametrize("text", ["complaint", "=b", "a=", " = "])
def test_a_pair_with_a_side_missing_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--label"):
        read_pairs("--label", [text])
