"""Where data comes from: a file, a saved `datasets` folder, a hub id, or what ships with tarjih."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tarjih.data import tables
from tarjih.data.columns import find_columns
from tarjih.errors import DataError
from tarjih.files import sha256_of, sha256_of_file

BUNDLED = "bundled:consultations"
TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
SUFFIXES = (".xlsx", *TEXT_SUFFIXES, ".parquet")
_FETCH_ELSEWHERE = (
    "check the name and the network, or fetch it elsewhere and name the file; "
    "if you meant a file, check the path"
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """A source that was found, not opened yet.

    Attributes:
        given: the name as the user gave it, for errors.
        path: the file or folder; None for a hub id.
    """

    given: str
    path: Path | None

    @property
    def name(self) -> str:
        """A short name without folders, for tables and columns."""
        return self.given if self.path is None or self.given == BUNDLED else self.path.name

    @property
    def stem(self) -> str:
        """What made-up ids start with."""
        return self.given.replace("/", "-") if self.path is None else self.path.stem


def find_source(given: str | Path) -> Source:
    """Find a source by its name.

    Raises:
        DataError: when there is nothing of that name, suggesting names that are near, or when it is
            nothing that can be read.
    """
    name = str(given)
    if name == BUNDLED:
        file = resources.files("tarjih.data") / "consultations" / "consultations.jsonl"
        return Source(name, Path(str(file)))
    if name.startswith("bundled:"):
        raise DataError("no such data ships with tarjih", file=name, remedy=f"use {BUNDLED}")
    path = Path(name)
    if path.is_dir():
        _check_folder(path)
        return Source(name, path)
    if path.exists():
        _check_suffix(path)
        return Source(name, path)
    if _HUB_ID.fullmatch(name) and path.suffix.lower() not in SUFFIXES and not path.parent.exists():
        return Source(name, None)
    raise _absent(path)


def _absent(path: Path) -> DataError:
    siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=3, cutoff=0.6)
    remedy = f"did you mean {' or '.join(near)}?" if near else "check the path"
    return DataError("there is no such file", file=path, remedy=remedy)


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() in SUFFIXES:
        return
    remedy = "save it as .xlsx or .csv" if path.suffix.lower() == ".xls" else "convert it to one"
    raise DataError(
        f"files of the kind {path.suffix or 'without an ending'!r} cannot be read, only "
        + ", ".join(SUFFIXES),
        file=path,
        remedy=remedy,
    )


def _check_folder(path: Path) -> None:
    if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return
    files = sorted(file.name for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    shown = ", ".join(files[:10]) or "nothing that can be read"
    raise DataError(
        f"this folder is not a saved `datasets` folder; it holds {shown}",
        file=path,
        remedy="name one of its files",
    )


def open_table(
    source: Source,
    *,
    sheet: str | None = None,
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> tables.Table:
    """Open a source as numbered rows of text.

    Args:
        source: from `find_source`.
        sheet: the sheet of a workbook, or the split of a saved or hub data set; None takes the
            first sheet with the columns we need, or all splits one after the other.
        encoding: of text files; None means UTF-8 (or UTF-16 with a byte order mark).
        columns: the user's mapping, which helps to choose the sheet.

    Raises:
        DataError: when the source is empty, damaged, or cannot be fetched.
    """
    path = source.path
    suffix = "" if path is None or path.is_dir() else path.suffix.lower()
    if sheet is not None and suffix not in ("", ".xlsx"):
        raise DataError("this kind of file has no sheets", file=source.given, remedy="name none")
    if path is None or path.is_dir():
        return tables.open_datasets(_load(source, sheet))
    if not path.exists():
        raise DataError("the file is not there", file=path, remedy="install tarjih again")
    if suffix == ".xlsx":
        return tables.open_sheet(path, sheet, _fits(columns))
    if suffix == ".parquet":
        return tables.open_parquet(path)
    opener = tables.open_json_lines if suffix in (".jsonl", ".ndjson") else tables.open_delimited
    return opener(path, encoding)


def _fits(columns: Mapping[str, str] | None) -> Callable[[Sequence[str]], bool]:
    def fits(header: Sequence[str]) -> bool:
        try:
            find_columns(header, told=columns, told_for_several=True)
        except DataError:
            return False
        return True

    return fits


def _load(source: Source, split: str | None) -> list[Any]:
    # Imported here: it takes seconds, and most sources are plain files.
    import datasets

    try:
        if source.path is None:
            loaded = datasets.load_dataset(source.given)
        else:
            loaded = datasets.load_from_disk(str(source.path))
    except Exception as error:  # the library raises whatever its many backends raise
        raise DataError(
            f"the data set cannot be loaded ({type(error).__name__}: {_first_line(error)})",
            file=source.given,
            remedy=_FETCH_ELSEWHERE if source.path is None else "save it again with save_to_disk",
        ) from error
    if not isinstance(loaded, dict):
        return [loaded]
    if split is not None and split not in loaded:
        raise DataError(
            f"there is no split {split!r}; it has {', '.join(loaded)}",
            file=source.given,
            remedy="name one of these splits",
        )
    return [loaded[split]] if split is not None else list(loaded.values())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def source_digest(source: Source) -> str:
    """SHA-256 of what a source holds: of the file, of a folder's files, or of a hub fingerprint."""
    path = source.path
    if path is None:
        prints = [part._fingerprint for part in _load(source, None)]
        return sha256_of([source.given, prints])
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return sha256_of([[str(file.relative_to(path)), sha256_of_file(file)] for file in files])
    return sha256_of_file(path)
