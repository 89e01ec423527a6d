"""Text files in UTF-8 or in a named encoding, with errors that say where they break."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from tarjih.errors import DataError

_BLOCK = 1 << 16


def open_text(path: Path, encoding: str | None) -> Iterator[str]:
    """The lines of a text file, with their ends, streaming.

    Args:
        path: the file.
        encoding: a name that Python knows; None means UTF-8, or UTF-16 where the file starts with
            its byte order mark. A byte order mark is never part of the text.

    Raises:
        DataError: when the encoding has no such name, or (while reading) a byte does not fit it.
    """
    name = encoding or _guess(path)
    try:
        codecs.lookup(name)
    except LookupError:
        raise DataError(
            f"there is no encoding {name!r}",
            file=path,
            remedy="use for example --encoding utf-8, cp1256 (Arabic Windows) or utf-16",
        ) from None
    return _lines(path, name)


def _guess(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _lines(path: Path, encoding: str) -> Iterator[str]:
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    try:
        with path.open(encoding=encoding, newline="") as file:
            yield from file
    except UnicodeError:
        raise DataError(
            f"byte {_first_bad_byte(path, encoding)} is not {encoding.removesuffix('-sig')} text",
            file=path,
            remedy="say how the file is encoded, for example --encoding cp1256 (Arabic Windows)",
        ) from None


def _first_bad_byte(path: Path, encoding: str) -> int:
    """The offset of the first byte that does not decode, counted from 0."""
    decoder = codecs.getincrementaldecoder(encoding.removesuffix("-sig"))()
    offset = 0
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                # The decoder puts what it kept of earlier blocks in front of this one.
                return offset - (len(error.object) - len(block)) + error.start
            except UnicodeError:  # UTF-16 without a byte order mark has no offset to tell
                return offset
            if not block:
                return offset
            offset += len(block)
