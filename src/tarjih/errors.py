"""The exception tree.

TarjihError
├── BadInputError            what the user gave cannot be used        (exit code 2)
│   ├── DataError            a file, a row or a value of the data
│   ├── SettingsError        a YAML file or a `key=value` override
│   ├── ModelError           a model name, a model folder, an architecture
│   └── FolderError          an output folder that belongs to something else
└── WorkFailedError          the input was good, the work did not succeed (exit code 1)

Every `BadInputError` says what is wrong, where, and what to do about it. The command line prints
exactly that and no traceback.
"""

from __future__ import annotations

from pathlib import Path

_LONGEST_SHOWN_VALUE = 60


class TarjihError(Exception):
    """Base of every error that this library raises on purpose."""

    exit_code = 1


class BadInputError(TarjihError):
    """Something the user gave cannot be used.

    Args:
        what: one sentence that says what is wrong.
        remedy: one sentence that says what to do about it.
        file: the file or folder at fault.
        row: the row of the file, counted as a person counts (the first data row is 1).
        column: the column at fault.
        value: the offending value. It is shortened, because it may be what a patient wrote.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        remedy: str,
        file: str | Path | None = None,
        row: int | None = None,
        column: str | None = None,
        value: object = None,
    ) -> None:
        self.what = what
        self.remedy = remedy
        self.file = None if file is None else str(file)
        self.row = row
        self.column = column
        self.value = None if value is None else shorten(value)
        super().__init__(self._message())

    def _message(self) -> str:
        where = [self.file] if self.file is not None else []
        if self.row is not None:
            where.append(f"row {self.row}")
        if self.column is not None:
            where.append(f"column {self.column!r}")
        if self.value is not None:
            where.append(f"value {self.value}")
        place = ", ".join(where)
        return f"{place + ': ' if place else ''}{self.what}\nWhat to do: {self.remedy}"


class DataError(BadInputError):
    """A data file, one of its rows or one of its values cannot be used."""


class SettingsError(BadInputError):
    """A settings file or an override cannot be used."""


class ModelError(BadInputError):
    """A model cannot be found, read, or handled."""


class FolderError(BadInputError):
    """An output folder holds something that must not be overwritten."""


class WorkFailedError(TarjihError):
    """The input was good, but the work did not succeed."""


def shorten(value: object) -> str:
    """Show at most the first characters of a value, on one line."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN_VALUE else text[: _LONGEST_SHOWN_VALUE - 1] + "…"
