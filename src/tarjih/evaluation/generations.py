"""Reading the answers that the generation stage wrote."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tarjih.errors import DataError
from tarjih.records import Generation

_FIELDS = {field.name: field for field in dataclasses.fields(Generation)}
_REQUIRED = {name for name, field in _FIELDS.items() if field.default is dataclasses.MISSING}
_CHECK = TypeAdapter(Generation)
_REMEDY = "the answers were damaged or changed by hand: generate them again"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_generations(path: Path) -> list[Generation]:
    """Read a JSON-lines file of answers.

    Raises:
        DataError: naming the file and the row when the file is absent or empty, or when a row is no
            JSON object, lacks a field, has an unknown one or a wrong value, or repeats an id.
    """
    rows: dict[str, Generation] = {}
    for row, line in _lines(path):
        generation = _read_row(line, path, row)
        if generation.id in rows:
            raise DataError(
                "this id was there before", file=path, row=row, column="id", remedy=_REMEDY
            )
        rows[generation.id] = generation
    if not rows:
        raise DataError("the file holds no answers", file=path, remedy="generate answers first")
    return list(rows.values())


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    # Read as bytes: only a line feed ends a row. Text mode would end one at a carriage return too,
    # and `splitlines` at U+2028, which stands unescaped inside the JSON of scraped text.
    try:
        with path.open("rb") as file:
            for row, line in enumerate(file, start=1):
                yield row, line.removeprefix(_BYTE_ORDER_MARK) if row == 1 else line
    except FileNotFoundError:
        raise DataError("the file is not there", file=path, remedy="check the path") from None
    except OSError as error:
        raise DataError(
            f"the file cannot be read ({error.strerror})", file=path, remedy="check the path"
        ) from None


def _read_row(line: bytes, path: Path, row: int) -> Generation:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise DataError("the row is not JSON", file=path, row=row, remedy=_REMEDY) from None
    if not isinstance(value, dict):
        raise DataError("the row is not a JSON object", file=path, row=row, remedy=_REMEDY)
    _check_fields(value, path, row)
    try:
        generation = _CHECK.validate_json(line, strict=True)
    except ValidationError as error:
        # Pydantic's message is shown, the value is not: it may be what a patient wrote.
        fault = error.errors(include_input=False, include_url=False)[0]
        column = ".".join(str(part) for part in fault["loc"])
        raise DataError(
            str(fault["msg"]), file=path, row=row, column=column, remedy=_REMEDY
        ) from None
    _check_numbers(generation, path, row)
    return generation


def _check_fields(value: dict[str, Any], path: Path, row: int) -> None:
    missing = sorted(_REQUIRED - value.keys())
    if missing:
        raise DataError(
            "the row lacks this field", file=path, row=row, column=missing[0], remedy=_REMEDY
        )
    unknown = sorted(value.keys() - _FIELDS.keys())
    if unknown:
        raise DataError(
            "the row has a field that answers do not have",
            file=path,
            row=row,
            column=unknown[0][:40],
            remedy=_REMEDY,
        )


def _check_numbers(generation: Generation, path: Path, row: int) -> None:
    loss, tokens = generation.reference_loss, generation.reference_tokens
    faults = {
        "new_tokens": "must not be negative" if generation.new_tokens < 0 else None,
        "reference_loss": _loss_fault(loss, tokens),
        "reference_tokens": "must be at least 1" if tokens is not None and tokens < 1 else None,
    }
    for column, fault in faults.items():
        if fault is not None:
            raise DataError(
                f"the value {fault}",
                file=path,
                row=row,
                column=column,
                value=getattr(generation, column),
                remedy=_REMEDY,
            )


def _loss_fault(loss: float | None, tokens: int | None) -> str | None:
    if (loss is None) != (tokens is None):
        return "must be there exactly when reference_tokens is"
    if loss is not None and not (math.isfinite(loss) and loss >= 0.0):
        return "must be a number from 0 up"
    return None
