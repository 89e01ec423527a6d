"""Files that are whole or absent: atomic writing, hashes, JSON.

Everything this library writes goes to a temporary name beside its place first and is renamed when
complete, so that kill -9 and a full disk leave the previous version, never half of the next.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tarjih.errors import DataError

_BLOCK = 1 << 20


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; rename it to `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_unclaimed(folder: Path, first: str) -> bool:
    """Whether nothing stands at `folder` that anybody could miss.

    That is: nothing, an empty folder, or one where a kill in the middle of writing the file
    `first` atomically left nothing but its temporary file.
    """
    if not folder.exists():
        return True
    return folder.is_dir() and all(
        path.name.startswith(f".{first}.") and path.suffix == ".part" for path in folder.iterdir()
    )


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; put it in its place if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
                file.chmod(0o644)
        temporary.chmod(0o755)
        _swap(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, path: Path) -> None:
    """Put a folder in the place of another; the old one is whole until the new one is there."""
    if not path.exists():
        new.replace(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    path.replace(aside)
    try:
        new.replace(path)
    except OSError:
        aside.replace(path)
        raise
    shutil.rmtree(aside)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; Arabic stays readable; NaN is refused (it is not JSON)."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Write one JSON value a line, atomically."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: when it is absent or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("the file is not there", file=path, remedy="check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"this is not valid JSON ({error})",
            file=path,
            remedy="the file was damaged or changed by hand: make it again",
        ) from None


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_of(value: Any) -> str:
    """SHA-256 of a JSON-like value in its canonical form (keys sorted, no spaces)."""
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
