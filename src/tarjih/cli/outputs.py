"""Checks of what a command reads and writes, before hours are spent on the work between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tarjih.errors import DataError, FolderError


def check_output_file(out: Path, *inputs: str | Path) -> None:
    """Refuse to write a file where a folder is, or over what the command reads.

    Raises:
        FolderError: naming the path.
    """
    if out.is_dir():
        raise FolderError(
            "this is a folder, but --out names the file to write",
            file=out,
            remedy=f"name a file, such as {out / 'FILE'}",
        )
    if any(Path(given).exists() and out.resolve() == Path(given).resolve() for given in inputs):
        raise FolderError(
            "this file is what the command reads, so it is not overwritten",
            file=out,
            remedy="name another file with --out",
        )


@contextmanager
def naming(file: str | Path) -> Iterator[None]:
    """Errors about data that do not know their file name this one."""
    try:
        yield
    except DataError as error:
        if error.file is not None:
            raise
        raise DataError(
            error.what, file=file, row=error.row, column=error.column, remedy=error.remedy
        ) from None
