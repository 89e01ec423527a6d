from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tarjih.errors import DataError
from tarjih.severity.lexicon.entries import BUNDLED, Category, Dialect, read_entries
from tarjih.severity.lexicon.reading import read_lexicon

Change = Callable[[Any], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(BUNDLED, tmp_path / "data")
    return tmp_path / "data"


def change(file: Path, how: Change) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    how(data)
    file.write_text(json.dumps(data), encoding="utf-8")


def test_entries_are_read_as_they_stand() -> None:
    entries = read_entries()
    (sign,) = [sign for sign in entries.signs if sign.id == "chest-pain"]
    raw = json.loads((BUNDLED / "critical.json").read_text(encoding="utf-8"))
    assert sign.english == "chest pain or pressure"
    assert sign.category is Category.HEART_AND_VESSELS
    assert sign.source == tuple(raw["sources"]["nhs-chest-pain"].values())
    assert {dialect: list(forms) for dialect, forms in sign.forms.items()} == next(
        one["forms"] for one in raw["signs"] if one["id"] == "chest-pain"
    )
    assert entries.file_of["chest-pain"].name == "critical.json"
    assert entries.file_of["pregnant"].name == "parts.json"
    assert entries.file_of["turn"].name == "context.json"


def test_a_copy_of_the_data_is_the_same_lexicon(folder: Path) -> None:
    assert read_lexicon(folder).digest == read_lexicon().digest


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("critical.json", lambda d: d["signs"][0].pop("severity"), "'chest-pain'.*: severity:"),
        ("critical.json", lambda d: d["signs"][0].update(severity="red"), "'chest-pain'.*severity"),
        ("critical.json", lambda d: d["signs"][0].update(category="x"), "'chest-pain'.*category"),
        ("critical.json", lambda d: d["signs"][0].update(colour="x"), "'chest-pain'.*colour"),
        ("critical.json", lambda d: d["signs"][0].update(source="x"), "'chest-pain'.*named 'x'"),
        (
            "critical.json",
            lambda d: d["signs"][0]["forms"].update(x=["a"]),
            "'chest-pain'.*forms.x",
        ),
        (
            "critical.json",
            lambda d: d["signs"][0]["forms"]["gulf"].insert(1, 7),
            r"'chest-pain'.*forms\.gulf\.1",
        ),
        (
            "critical.json",
            lambda d: d["signs"][0].update(together=[["fever"]]),
            "'chest-pain'.*tog",
        ),
        (
            "critical.json",
            lambda d: d["signs"][0].update(together=[["fever", "none"]]),
            "'chest-pain'.*no part is named 'none'",
        ),
        (
            "critical.json",
            lambda d: d["signs"][0]["forms"]["msa"].append("... \u0646\u0632\u064a\u0641"),
            "'chest-pain'.*no word at its beginning",
        ),
        ("critical.json", lambda d: d["signs"][2].pop("id"), "'signs, number 3'.*: id:"),
        ("critical.json", lambda d: d["signs"].insert(0, "sign"), "'signs, number 1'"),
        (
            "critical.json",
            lambda d: d["sources"]["nhs-chest-pain"].update(url="http://x"),
            "'sources, nhs-chest-pain'.*url",
        ),
        ("neutral.json", lambda d: d["signs"].append(d["signs"][0]), "'persistent-fever'.*same id"),
        ("neutral.json", lambda d: d.update(signs={}), "'signs' cannot be used"),
        ("neutral.json", lambda d: d["signs"][0].update(id="chest-pain"), "'chest-pain'.*same id"),
        (
            "neutral.json",
            lambda d: d["signs"][0].update(id="fever"),
            r"parts\.json.*'fever'.*neutral\.json has one of the same id",
        ),
        ("context.json", lambda d: d.update(negation={}), "'negation'.*no such kind of cue"),
        ("context.json", lambda d: d["turn"].update(msa="x"), r"'turn'.*: msa"),
        ("context.json", lambda d: d["turn"].update(msa=["\u061f"]), "'turn'.*a word should be"),
        ("parts.json", lambda d: d["fever"].update(msa=["\u0627\u0628*"]), "'fever'.*2 letters"),
        ("parts.json", lambda d: d.update(turn={}), "'turn'.*same id"),
        ("parts.json", lambda d: d.pop("fever"), "no part is named 'fever'"),
    ],
)
def test_a_malformed_entry_is_named_with_its_file(
    folder: Path, name: str, how: Change, said: str
) -> None:
    change(folder / name, how)
    with pytest.raises(DataError, match=said) as caught:
        read_lexicon(folder)
    assert caught.value.file is not None
    if "'fever'" not in said:  # which is named where it is used
        assert caught.value.file == str(folder / name)
    assert "docs/severity-lexicon.md" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"signs": ['])
def test_a_damaged_file_is_named(folder: Path, content: bytes) -> None:
    (folder / "neutral.json").write_bytes(content)
    with pytest.raises(DataError, match="not valid JSON") as caught:
        read_lexicon(folder)
    assert caught.value.file == str(folder / "neutral.json")


@pytest.mark.parametrize("content", ["[]", "7", "null"])
def test_a_file_of_another_shape_is_named(folder: Path, content: str) -> None:
    for name in ("neutral.json", "context.json"):
        whole = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match="'of the whole file' cannot be used") as caught:
            read_lexicon(folder)
        assert caught.value.file == str(folder / name)
        (folder / name).write_text(whole, encoding="utf-8")


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "parts.json").unlink()
    with pytest.raises(DataError, match="is not there") as caught:
        read_lexicon(folder)
    assert caught.value.file == str(folder / "parts.json")


def test_dialects_and_categories_are_in_use() -> None:
    signs = read_entries().signs
    assert {sign.category for sign in signs} == set(Category)
    assert {dialect for sign in signs for dialect in sign.forms} == set(map(str, Dialect))
