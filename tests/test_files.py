from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarjih.errors import DataError
from tarjih.files import (
    atomic_file,
    atomic_folder,
    read_json,
    sha256_of,
    sha256_of_file,
    write_json,
    write_json_lines,
    write_text,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(place: AbstractContextManager[Path], name: str) -> None:
    with place as temporary:
        (temporary / name).write_text("half of the ne")
        raise RuntimeError("disk full")


def killed_in_the_middle(code: str, folder: Path) -> None:
    """Run code that ends its process with os._exit(9): no `finally` runs, as with kill -9."""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert done.returncode == 9


def test_a_file_appears_whole_with_its_folder_and_is_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "a.txt"
    write_text(path, "\u0635\u062f\u0627\u0639\n")  # suda': headache
    assert path.read_bytes() == "\u0635\u062f\u0627\u0639\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert names_in(path.parent) == ["a.txt"]


def test_an_exception_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="full"):
        write_half(atomic_file(path), ".")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_until_the_block_ends_readers_see_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path  # a rename is atomic within one file system only
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    killed_in_the_middle(
        "import os, sys, pathlib\n"
        "from tarjih.files import atomic_file\n"
        "with atomic_file(pathlib.Path(sys.argv[1]) / 'a.txt') as temporary:\n"
        "    temporary.write_text('half of the ne')\n"
        "    os._exit(9)\n",
        tmp_path,
    )
    assert path.read_text() == "old"


def test_a_killed_process_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "weights").write_text("old")
    killed_in_the_middle(
        "import os, sys, pathlib\n"
        "from tarjih.files import atomic_folder\n"
        "with atomic_folder(pathlib.Path(sys.argv[1]) / 'model') as temporary:\n"
        "    (temporary / 'weights').write_text('half of the ne')\n"
        "    os._exit(9)\n",
        tmp_path,
    )
    assert (path / "weights").read_text() == "old"
    assert names_in(path) == ["weights"]


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "only-in-old").write_text("old")
    with atomic_folder(path) as temporary:
        (temporary / "deeper").mkdir()
        (temporary / "deeper" / "new").write_text("new")
        assert names_in(path) == ["only-in-old"]
    assert names_in(path) == ["deeper"]
    assert (path / "deeper" / "new").read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert stat.S_IMODE((path / "deeper" / "new").stat().st_mode) == 0o644
    assert names_in(tmp_path) == ["model"]


def test_an_exception_leaves_the_old_folder_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "weights").write_text("old")
    with pytest.raises(RuntimeError, match="full"):
        write_half(atomic_folder(path), "weights")
    assert (path / "weights").read_text() == "old"
    assert names_in(tmp_path) == ["model"]


def test_a_failed_swap_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "weights").write_text("old")
    replace = Path.replace
    refused: list[Path] = []

    def refusing(self: Path, target: Path) -> Path:
        if (self / "weights").read_text() == "new" and not refused:
            refused.append(self)
            raise OSError("input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refusing)
    with pytest.raises(OSError, match="input/output"), atomic_folder(path) as temporary:
        (temporary / "weights").write_text("new")
    assert refused
    assert (path / "weights").read_text() == "old"


def test_the_old_folder_is_never_half_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "weights").write_text("old")
    seen = []
    remove = shutil.rmtree

    def watching(folder: Path, ignore_errors: bool = False) -> None:
        seen.append((path / "weights").read_text())
        remove(folder, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", watching)
    with atomic_folder(path) as temporary:
        (temporary / "weights").write_text("new")
    assert seen
    assert set(seen) == {"new"}  # what is deleted is no longer in its place


def test_everything_is_flushed_to_the_disk_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    flush, replace = os.fsync, Path.replace

    def flushing(handle: int) -> None:
        events.append("flush")
        flush(handle)

    def replacing(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "replace", replacing)
    write_text(tmp_path / "a.txt", "a")
    assert events == ["flush", "rename"]
    events.clear()
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "deeper").mkdir()
        (temporary / "one").write_text("1")
        (temporary / "deeper" / "two").write_text("2")
    assert events == ["flush", "flush", "rename"]


@settings(deadline=None)
@given(value=JSON)
def test_json_comes_back(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_arabic_stays_readable_in_json(tmp_path: Path) -> None:
    word = "\u062d\u0645\u0649"  # humma: fever
    write_json(tmp_path / "a.json", {"complaint": word})
    write_json_lines(tmp_path / "a.jsonl", [{"complaint": word}, {"complaint": "line\nbreak"}])
    assert word in (tmp_path / "a.json").read_text(encoding="utf-8")
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")
    assert word in lines[0]
    assert [json.loads(line)["complaint"] for line in lines[:-1]] == [word, "line\nbreak"]
    assert lines[-1] == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_and_the_old_file_stays(tmp_path: Path, value: float) -> None:
    path, lines = tmp_path / "a.json", tmp_path / "a.jsonl"
    write_json(path, 1)
    write_json_lines(lines, [1])
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"loss": value})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_lines(lines, [2, value])
    assert path.read_text() == "1\n"
    assert lines.read_text() == "1\n"
    assert names_in(tmp_path) == ["a.json", "a.jsonl"]


def test_json_lines_that_stop_halfway_leave_the_old_file(tmp_path: Path) -> None:
    def values() -> Iterator[int]:
        yield 2
        raise RuntimeError("stopped")

    path = tmp_path / "a.jsonl"
    write_json_lines(path, [1])
    with pytest.raises(RuntimeError, match="stopped"):
        write_json_lines(path, values())
    assert path.read_text() == "1\n"


def test_an_absent_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json.*not there"):
        read_json(tmp_path / "absent.json")


@pytest.mark.parametrize("content", [b'{"a": 1', b"", b"\xff\xfe\x00", b"{'a': 1}"])
def test_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.json.*not valid JSON"):
        read_json(path)


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "large"
    content = b"abc" * 700_000  # more than two blocks
    path.write_bytes(content)
    assert sha256_of_file(path) == hashlib.sha256(content).hexdigest()


def test_the_hash_of_a_value_ignores_the_order_of_keys_only() -> None:
    one = sha256_of({"a": 1, "b": [1, 2]})
    assert one == hashlib.sha256(b'{"a":1,"b":[1,2]}').hexdigest()
    assert one == sha256_of({"b": [1, 2], "a": 1})
    assert one != sha256_of({"a": 1, "b": [2, 1]})
