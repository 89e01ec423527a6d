from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarjih.errors import DataError
from tarjih.evaluation.generations import read_generations
from tarjih.files import write_json_lines
from tarjih.records import Generation, Severity

ROW: dict[str, Any] = {
    "id": "1",
    "complaint": "c",
    "reference": "r",
    "answer": "a",
    "severity": "critical",
    "severity_is_labelled": False,
    "specialty": None,
    "new_tokens": 4,
    "stopped": True,
    "reference_loss": 2.5,
    "reference_tokens": 2,
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# What breaks a naive split into lines, or a naive writer.
TEXT = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\u2028\x85\r\n\x00\ufeff")))


@settings(max_examples=50)
@given(texts=st.lists(TEXT, min_size=1, max_size=4), severity=st.sampled_from([None, *Severity]))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], severity: Severity | None
) -> None:
    path = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    written = [
        Generation(f"{n}", text, text[::-1], text, severity, False, text, n, True, 0.5, 7)
        for n, text in enumerate(texts)
    ]
    write_json_lines(path, [one.to_json() for one in written])
    assert read_generations(path) == written


def test_losses_may_be_absent(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if not key.startswith("reference_")}
    (found,) = read_generations(write(tmp_path / "a.jsonl", row))
    assert found.reference_loss is None
    assert found.severity is Severity.CRITICAL


def test_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode() + b"\r\n")
    assert len(read_generations(path)) == 1


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"answer": None}, "answer"),
        ({"answer": 3}, "answer"),
        ({"severity": "SECRET"}, "severity"),
        ({"stopped": "yes"}, "stopped"),
        ({"new_tokens": -1}, "new_tokens"),
        ({"new_tokens": 1.5}, "new_tokens"),
        ({"reference_loss": -1.0}, "reference_loss"),
        ({"reference_loss": float("nan")}, "reference_loss"),
        ({"reference_loss": float("inf")}, "reference_loss"),
        ({"reference_loss": None}, "reference_loss"),
        ({"reference_tokens": 0}, "reference_tokens"),
        ({"extra": 1}, "extra"),
    ],
)
def test_wrong_value_is_named(tmp_path: Path, changes: dict[str, Any], column: str) -> None:
    path = write(tmp_path / "a.jsonl", ROW, {**ROW, "id": "2", **changes})
    with pytest.raises(DataError) as caught:
        read_generations(path)
    assert (caught.value.row, caught.value.column) == (2, column)
    assert caught.value.file == str(path)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("key", [key for key in ROW if not key.startswith("reference_")])
def test_missing_field_is_named(tmp_path: Path, key: str) -> None:
    row = {name: value for name, value in ROW.items() if name != key}
    with pytest.raises(DataError, match="lacks this field") as caught:
        read_generations(write(tmp_path / "a.jsonl", row))
    assert (caught.value.row, caught.value.column) == (1, key)


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b'"text"', b'{"id": "\xff"}', b"[" * 10**5])
def test_row_that_is_no_object(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(ROW).encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError, match="the row is not") as caught:
        read_generations(path)
    assert caught.value.row == 2


def test_repeated_id(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this id was there before") as caught:
        read_generations(write(tmp_path / "a.jsonl", ROW, ROW))
    assert caught.value.row == 2


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no answers"):
        read_generations(write(tmp_path / "a.jsonl"))
    with pytest.raises(DataError, match="not there"):
        read_generations(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read_generations(tmp_path)
