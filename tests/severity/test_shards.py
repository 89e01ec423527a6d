from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

import tarjih.severity.shards as shards_module
from tarjih.errors import FolderError, SettingsError
from tarjih.progress import Reporter
from tarjih.severity.shards import (
    Shard,
    Share,
    WorkFolder,
    gather,
    missing_shards,
    read_share,
    shard_ranges,
    share_of_process,
    wait_for_one,
)

PLAN: dict[str, Any] = {
    "annotator": {"annotator": "linear", "settings": {"seed": 0}},
    "data": {"sha256": "d1"},
    "tarjih": "1",
}


def shard_of(rows: int, first_row: int = 0, seed: int = 0) -> Shard:
    draw = np.random.default_rng(seed)
    return Shard(
        np.arange(first_row, first_row + rows),
        draw.dirichlet([1, 1, 1], size=rows),
        draw.random(rows) < 0.5,
    )


def work_folder(folder: Path, **changes: Any) -> WorkFolder:
    work = WorkFolder(folder / "scored.parquet", {**PLAN, **changes})
    work.claim()
    return work


class Heard(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


# Who makes which shard.


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 60))
def test_every_shard_is_of_one_process_of_one_machine(
    machines: int, ranks: int, shard: int
) -> None:
    takers = []
    for machine in range(1, machines + 1):
        asked = read_share(f"{machine}/{machines}")
        for rank in range(ranks):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("RANK", str(rank))
                patch.setenv("WORLD_SIZE", str(ranks))
                takers.append(share_of_process(asked).takes(shard))
    assert sum(takers) == 1


def test_only_the_first_process_merges_and_none_that_was_given_a_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert share_of_process() == Share(0, 1, merges=True)
    assert share_of_process(read_share("1/1")) == Share(0, 1, merges=False)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    assert share_of_process() == Share(0, 3, merges=True)
    assert not share_of_process(read_share("1/2")).merges
    monkeypatch.setenv("RANK", "2")
    assert share_of_process() == Share(2, 3, merges=False)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1.0/2"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="no share of the work"):
        read_share(text)


@pytest.mark.parametrize(("rank", "ranks"), [("2", "2"), ("x", "2"), ("0", ""), ("-1", "2")])
def test_a_place_among_processes_that_is_none_is_refused(
    rank: str, ranks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", ranks)
    with pytest.raises(SettingsError, match="no place among processes"):
        share_of_process()


@given(st.integers(1, 100), st.integers(1, 30))
def test_ranges_cover_all_rows_in_order(rows: int, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "SHARD_ROWS", size)
        ranges = shard_ranges(rows)
    covered = [row for one in ranges for row in range(one.first_row, one.first_row + one.rows)]
    assert covered == list(range(rows))
    assert [one.number for one in ranges] == list(range(len(ranges)))
    assert {one.rows for one in ranges[:-1]} <= {size}


# What is kept.


def test_a_shard_is_read_as_it_was_written(tmp_path: Path) -> None:
    work, shard = work_folder(tmp_path), shard_of(7, 20)
    assert not work.has(3)
    work.write(3, 20, shard)
    assert work.has(3)
    found = work.read(3, 20, 7)
    assert found is not None
    for name in ("first_rows", "probabilities", "out_of_fold"):
        wanted = getattr(shard, name)
        assert getattr(found, name).dtype == wanted.dtype
        assert getattr(found, name).tobytes() == wanted.tobytes()
    assert [path.name for path in work.folder.iterdir()] == ["shard-000003.safetensors"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"annotator": {"annotator": "lexicon", "settings": {"seed": 0}}},
            r"from another annotator \(different: annotator\)",
        ),
        (
            {"annotator": {**PLAN["annotator"], "manifest_sha256": "m"}},
            r"from another annotator \(different: manifest_sha256\)",
        ),
        ({"data": {"sha256": "d2"}}, r"from other data \(different: sha256\)"),
        ({"tarjih": "2"}, "from another version of tarjih"),
    ],
)
def test_a_shard_from_another_annotator_or_other_data_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    work_folder(tmp_path, **changes).write(0, 0, shard_of(4))
    work = work_folder(tmp_path)
    before = work.path(0).read_bytes()
    for call in (lambda: work.read(0, 0, 4), lambda: missing_shards(work, shard_ranges(4))):
        with pytest.raises(FolderError, match=said) as caught:
            call()
    assert str(work.path(0)) in str(caught.value)
    assert "remove the folder scored.parquet.work" in caught.value.remedy
    work.remove()
    assert work.path(0).read_bytes() == before  # hours of somebody's work


def test_a_shard_of_other_rows_is_refused(tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    work.write(1, 4, shard_of(4, 4))
    with pytest.raises(FolderError, match="another version"):
        work.read(1, 8, 4)
    with pytest.raises(FolderError, match="another version"):
        work.read(1, 4, 3)


@pytest.mark.parametrize("kept", [0, 5, -1], ids=["nothing", "the start", "all but a byte"])
def test_a_shard_that_was_cut_short_is_made_again(kept: int, tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    work.write(0, 0, shard_of(4))
    work.path(0).write_bytes(work.path(0).read_bytes()[:kept])
    assert work.read(0, 0, 4) is None
    heard = Heard()
    assert missing_shards(work, shard_ranges(4), heard) == shard_ranges(4)
    assert not work.has(0)
    (said,) = heard.warnings
    assert str(work.path(0)) in said


def test_a_file_of_tensors_that_is_no_shard_is_not_replaced(tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    save_file({"x": np.zeros(1)}, work.path(0))
    with pytest.raises(FolderError, match="from another annotator"):
        missing_shards(work, shard_ranges(4))
    assert work.has(0)


@pytest.mark.parametrize(
    "changes",
    [
        {"probabilities": np.full((4, 3), np.nan)},
        {"probabilities": np.full((4, 3), 0.3)},
        {"probabilities": np.full((4, 2), 0.5)},
        {"probabilities": np.full((4, 3), 1 / 3, dtype=np.float32)},
        {"first_rows": np.array([4, 5, 6, 8])},
        {"first_rows": np.array([4, 5, 6, -1])},
        {"first_rows": np.array([4, 5, 6])},
        {"out_of_fold": np.zeros(4)},
        {"out_of_fold": np.zeros(3, dtype=np.bool_)},
    ],
)
def test_a_shard_that_makes_no_sense_is_made_again(changes: dict[str, Any], tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    work.write(1, 4, shard_of(4, 4))
    assert work.read(1, 4, 4) is not None
    metadata, tensors = shards_module._open(work.path(1))
    save_file({**tensors, **changes}, work.path(1), metadata={"tarjih": json.dumps(metadata)})
    assert work.read(1, 4, 4) is None


def test_a_tensor_too_few_is_no_shard(tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    work.write(0, 0, shard_of(4))
    metadata, tensors = shards_module._open(work.path(0))
    del tensors["out_of_fold"]
    save_file(tensors, work.path(0), metadata={"tarjih": json.dumps(metadata)})
    assert work.read(0, 0, 4) is None


# The folder.


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "scored.parquet.work"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FolderError, match=r"thesis\.txt"):
        work_folder(tmp_path)
    work = WorkFolder(tmp_path / "scored.parquet", PLAN)
    work.write(0, 0, shard_of(2))
    (folder / ".shard-000001.safetensors.x.part").write_bytes(b"left by a kill")
    (folder / "merged.parquet").write_bytes(b"")
    work.remove()
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_what_another_process_is_writing_is_no_stranger(tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    (work.folder / ".tmpAb12Cd").write_bytes(b"half")  # as safetensors names it
    (work.folder / ".shard-0.part").write_bytes(b"half")
    (work.folder / "shard-1.safetensors").symlink_to("gone")  # as if it went after it was listed
    work.claim()
    (work.folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FolderError, match=r"it holds notes\.txt"):
        work.claim()


def test_what_a_kill_left_is_removed_in_the_end(tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    work.write(0, 0, shard_of(2))
    (work.folder / ".shard-000001.safetensors.x.part").write_bytes(b"")
    (work.folder / ".merged.parquet.x.part").write_bytes(b"")
    again = work_folder(tmp_path)
    again.remove()
    assert list(tmp_path.iterdir()) == []
    again.remove()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scored.parquet.work").write_text("mine", encoding="utf-8")
    with pytest.raises(FolderError, match="cannot be kept here"):
        work_folder(tmp_path)
    with pytest.raises(FolderError, match="cannot be kept here") as caught:
        work_folder(tmp_path / "scored.parquet.work")
    assert "may write to" in caught.value.remedy


def test_a_folder_that_may_not_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", refused)
        with pytest.raises(FolderError, match=r"Permission denied") as caught:
            work_folder(tmp_path)
    assert "scored.parquet.work" in str(caught.value)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(FolderError, match=r"Permission denied"):
        work_folder(tmp_path)


def test_a_full_disk_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left"):
        work_folder(tmp_path)


# Waiting and merging.


def test_waiting_ends_when_a_shard_appears(tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    ranges = shard_ranges(3 * shards_module.SHARD_ROWS)

    def late() -> None:
        time.sleep(0.1)
        work.write(2, 0, shard_of(1))

    thread = threading.Thread(target=late)
    thread.start()
    assert wait_for_one(work, ranges[1:], patience=60)
    thread.join()


def test_waiting_has_an_end(tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    work.write(0, 0, shard_of(1))
    started = time.monotonic()
    assert not wait_for_one(work, shard_ranges(3 * shards_module.SHARD_ROWS)[1:], patience=0.3)
    assert 0.3 <= time.monotonic() - started < 30


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 7))
def test_gathering_gives_each_row_the_scores_of_the_first_with_its_complaint(
    complaints: list[int], size: int
) -> None:
    scores = np.random.default_rng(0).dirichlet([1, 1, 1], size=7)
    with pytest.MonkeyPatch.context() as patch, TemporaryFile() as store:
        patch.setattr(shards_module, "SHARD_ROWS", size)
        ranges = shard_ranges(len(complaints))
        work = _Kept(Path("nowhere"), complaints, scores)
        found = list(gather(work, ranges, store))
    rows = np.concatenate([part for part, _ in found])
    assert rows["probabilities"].tobytes() == scores[complaints].tobytes()
    assert rows["out_of_fold"].tolist() == [complaint % 2 == 0 for complaint in complaints]
    assert sum(count for _, count in found) == len(set(complaints))


class _Kept(WorkFolder):
    """Shards of complaints that are numbers, without files."""

    def __init__(self, folder: Path, complaints: list[int], scores: Any) -> None:
        super().__init__(folder / "scored.parquet", PLAN)
        self.complaints, self.scores = np.array(complaints), scores

    def read(self, number: int, first_row: int, rows: int) -> Shard:
        own = np.arange(first_row, first_row + rows)
        first = np.array([list(self.complaints).index(self.complaints[row]) for row in own])
        mine = (first == own)[:, None]
        of_row = self.complaints[own]
        return Shard(first, np.where(mine, self.scores[of_row], 0), (of_row % 2 == 0) & mine[:, 0])


def test_gathering_stops_at_a_shard_that_is_gone(tmp_path: Path) -> None:
    work = work_folder(tmp_path)
    with (
        TemporaryFile() as store,
        pytest.raises(FolderError, match=r"damaged or gone.*\n.*same command again"),
    ):
        list(gather(work, shard_ranges(2), store))
