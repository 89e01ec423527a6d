from __future__ import annotations

import json
from pathlib import Path

import pytest

from tarjih.errors import DataError
from tarjih.files import write_json
from tarjih.report.load import load_results

from .demo import demo


def test_what_was_written_is_read(tmp_path: Path) -> None:
    results = demo(tmp_path)
    write_json(tmp_path / "results.json", results.model_dump(mode="json"))
    assert load_results(tmp_path) == results


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no results\.json") as caught:
        load_results(tmp_path)
    assert caught.value.file == str(tmp_path)
    with pytest.raises(DataError, match=r"no results\.json"):
        load_results(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "the file: "),
        ('{"name": "x"}', r"settings: Field required \(and 4 more faults\)"),
    ],
)
def test_damaged(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=message):
        load_results(tmp_path)


def test_other_format_is_named(tmp_path: Path) -> None:
    value = {**demo(tmp_path).model_dump(mode="json"), "format": "tarjih.results/9"}
    (tmp_path / "results.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="format: "):
        load_results(tmp_path)
