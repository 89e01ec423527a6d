"""Scoring in shards: what is written never depends on who made which shard, or when."""

from __future__ import annotations

import errno
import shutil
import threading
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

import tarjih.severity.annotate as annotate_module
import tarjih.severity.shards as shards_module
import tarjih.severity.survey as survey_module
from tarjih.arabic.normalise import clean_text
from tarjih.errors import DataError, FolderError, WorkFailedError
from tarjih.progress import Reporter
from tarjih.records import PROBABILITY_COLUMNS, SEVERITIES
from tarjih.severity.annotate import score_file, score_share
from tarjih.severity.annotator import ScoredComplaints
from tarjih.severity.scored_table import ScoredFile
from tarjih.severity.shards import Share, WorkFolder

ACHE = "\u0648\u062c\u0639"  # waja': ache
ROWS, SHARD = 50, 8


class Batchwise:
    """An annotator whose scores depend in the last digits on what shares their batch.

    So do an encoder's, through the order of floating-point sums.
    """

    reads_responses = False

    def __init__(self, name: str = "batchwise", limit: int | None = None) -> None:
        self.name, self.limit = name, limit
        self.batches: list[list[str]] = []

    def score(self, complaints: Sequence[str]) -> ScoredComplaints:
        if len(self.batches) == self.limit:
            raise KeyboardInterrupt
        self.batches.append(list(complaints))
        noise = 1e-9 * len("".join(complaints))
        weights = np.array([[1 + len(text), 2 + ord(text[-1]), 3 + noise] for text in complaints])
        known = tuple(text.endswith("4") for text in complaints)
        if not complaints:
            return ScoredComplaints(np.zeros((0, 3)), ())
        return ScoredComplaints(weights / weights.sum(axis=1, keepdims=True), known)

    def signature(self) -> dict[str, Any]:
        return {"annotator": self.name}

    @property
    def scored(self) -> Counter[str]:
        return Counter(text for batch in self.batches for text in batch)


class Heard(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def complaint(row: int) -> str:
    # In an order that repeats complaints within shards and from shard to shard.
    blank = "  " if row % 5 == 0 else " "
    return f"{ACHE}{blank}{row * row % 17 if row % 3 else 100 + row}"


def write_posts(file: Path, rows: int = ROWS) -> Path:
    lines = [f"{complaint(row)},{row}" for row in range(rows)]
    file.write_text("\n".join(["complaint,note", *lines]) + "\n", encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "SHARD_ROWS", SHARD)
    monkeypatch.setattr(survey_module, "_BATCH", 7)
    monkeypatch.setattr(annotate_module, "_PATIENCE", 0.0)


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    return write_posts(tmp_path / "posts.csv")


@pytest.fixture
def one_go(posts: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What one process writes that nothing interrupts."""
    use(monkeypatch, Batchwise())
    out = posts.with_name("one-go.parquet")
    score_file(Path("model"), posts, out)
    written = table(out)
    out.unlink()
    return written


def use(monkeypatch: pytest.MonkeyPatch, annotator: Batchwise) -> Batchwise:
    monkeypatch.setattr(annotate_module, "load_annotator", lambda _: annotator)
    return annotator


def score(posts: Path, **options: Any) -> ScoredFile:
    return score_file(Path("model"), posts, posts.with_name("scored.parquet"), **options)


def score_part(posts: Path, number: int, of: int) -> None:
    share = Share(number, of, merges=False)
    score_share(Path("model"), posts, posts.with_name("scored.parquet"), share)


def table(file: Path) -> dict[str, list[Any]]:
    return dict(pq.read_table(file).to_pydict())


def shards_in(posts: Path) -> list[str]:
    return sorted(path.name for path in posts.with_name("scored.parquet.work").iterdir())


def assert_finished(posts: Path, one_go: dict[str, list[Any]]) -> None:
    assert table(posts.with_name("scored.parquet")) == one_go
    assert sorted(path.name for path in posts.parent.iterdir()) == ["posts.csv", "scored.parquet"]


def test_each_distinct_complaint_is_scored_once(
    posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotator = use(monkeypatch, Batchwise())
    scored = score(posts)
    texts = [clean_text(complaint(row)) for row in range(ROWS)]
    assert annotator.scored == Counter(set(texts))
    assert scored.scored_complaints == len(set(texts)) < ROWS == scored.rows
    assert scored.out_of_fold_rows == sum(text.endswith("4") for text in texts) > 0
    written = table(scored.file)
    assert [int(note) for note in written["note"]] == list(range(ROWS))
    assert written["complaint"] == [complaint(row) for row in range(ROWS)]
    found = list(zip(*(written[name] for name in PROBABILITY_COLUMNS), strict=True))
    first: dict[str, tuple[float, ...]] = {}
    for text, row in zip(texts, found, strict=True):
        assert first.setdefault(text, row) == row
    assert len(set(first.values())) == len(first)
    assert scored.rows_by_severity == {s: written["severity"].count(s) for s in SEVERITIES}


def test_complaints_beyond_those_remembered_are_scored_once_in_a_shard(
    posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [clean_text(complaint(row)) for row in range(ROWS)]
    monkeypatch.setattr(survey_module, "REMEMBERED_ROWS", 10)
    annotator = use(monkeypatch, Batchwise())
    score(posts)
    expected = Counter(set(texts[:10]))
    for start in range(0, ROWS, SHARD):
        rows = range(max(start, 10), min(start + SHARD, ROWS))
        expected.update({texts[row] for row in rows} - set(texts[:10]))
    assert annotator.scored == expected


@pytest.mark.parametrize("limit", [0, 1, 3, 5])
def test_an_interrupted_scoring_goes_on_without_scoring_anything_again(
    limit: int, posts: Path, one_go: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = use(monkeypatch, Batchwise(limit=limit))
    with pytest.raises(KeyboardInterrupt):
        score(posts)
    assert len(shards_in(posts)) == limit
    assert not posts.with_name("scored.parquet").exists()
    went_on = use(monkeypatch, Batchwise())
    heard = Heard()
    score(posts, reporter=heard)
    assert_finished(posts, one_go)
    assert max((stopped.scored + went_on.scored).values()) == 1
    assert heard.notes == ([f"{limit} of 7 shards are there already"] if limit else [])


@pytest.mark.parametrize("shares", [2, 3, 9])
def test_shares_made_apart_come_to_the_same(
    shares: int, posts: Path, one_go: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    annotator = use(monkeypatch, Batchwise())
    for number in reversed(range(shares)):
        elsewhere = posts.parent / f"machine-{number}"
        elsewhere.mkdir()
        copy = Path(shutil.copy(posts, elsewhere / "posts.csv"))
        score_part(copy, number, shares)
        work = elsewhere / "scored.parquet.work"
        assert shards_in(copy) == [f"shard-{n:06d}.safetensors" for n in range(number, 7, shares)]
        shutil.copytree(work, posts.with_name("scored.parquet.work"), dirs_exist_ok=True)
        shutil.rmtree(elsewhere)
    assert max(annotator.scored.values()) == 1
    use(monkeypatch, Batchwise(limit=0))  # nothing is left to score
    score(posts)
    assert_finished(posts, one_go)


def test_processes_at_the_same_time_come_to_the_same(
    posts: Path, one_go: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    annotator = use(monkeypatch, Batchwise())
    monkeypatch.setattr(annotate_module, "_PATIENCE", 60.0)
    others = [threading.Thread(target=score_part, args=(posts, rank, 3)) for rank in (1, 2)]
    for other in others:
        other.start()
    score(posts, share=Share(0, 3))
    for other in others:
        other.join()
    assert_finished(posts, one_go)
    assert max(annotator.scored.values()) == 1


def test_shards_of_processes_that_died_are_made_by_the_first(
    posts: Path, one_go: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Batchwise(limit=1))
    with pytest.raises(KeyboardInterrupt):
        score_part(posts, 1, 3)
    use(monkeypatch, Batchwise())
    heard = Heard()
    score(posts, share=Share(0, 3), reporter=heard)
    assert_finished(posts, one_go)
    assert heard.warnings == ["no other process makes these 3 shards: they are made here"]


def test_a_process_that_comes_too_late_leaves_nothing_behind(
    posts: Path, one_go: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Batchwise())
    score(posts)
    use(monkeypatch, Batchwise(limit=0))
    score_part(posts, 1, 2)
    assert_finished(posts, one_go)

    class Overtaken(Batchwise):
        def score(self, complaints: Sequence[str]) -> ScoredComplaints:
            with pytest.MonkeyPatch.context() as patch:
                use(patch, Batchwise())
                score(posts)
            assert_finished(posts, one_go)
            return super().score(complaints)

    posts.with_name("scored.parquet").unlink()
    late = use(monkeypatch, Overtaken())
    score_part(posts, 1, 2)
    assert len(late.batches) == 1
    assert_finished(posts, one_go)


def test_a_shard_from_another_annotator_or_other_data_stops_before_any_work(
    posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Batchwise(limit=2))
    with pytest.raises(KeyboardInterrupt):
        score(posts)
    before = shards_in(posts)
    use(monkeypatch, Batchwise("another", limit=0))
    with pytest.raises(FolderError, match=r"from another annotator \(different: annotator\)"):
        score(posts)
    use(monkeypatch, Batchwise(limit=0))
    posts.write_text(posts.read_text(encoding="utf-8") + f"{ACHE},x\n", encoding="utf-8")
    with pytest.raises(FolderError, match=r"from other data \(different: sha256\)"):
        score(posts)
    with pytest.raises(FolderError, match="from other data"):
        score_part(posts, 0, 2)
    assert shards_in(posts) == before


def test_another_fit_of_the_same_plan_is_another_annotator(
    posts: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    out = tmp_path / "scored.parquet"
    (model / "annotator.json").write_text('{"sha256": "first"}', encoding="utf-8")
    use(monkeypatch, Batchwise(limit=2))
    with pytest.raises(KeyboardInterrupt):
        score_file(model, posts, out)
    (model / "annotator.json").write_text('{"sha256": "second"}', encoding="utf-8")
    with pytest.raises(FolderError, match=r"another annotator.*manifest_sha256"):
        score_file(model, posts, out)


def test_a_finished_file_is_made_again_only_for_another_annotator_or_other_data(
    posts: Path, one_go: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Batchwise())
    first = score(posts)
    use(monkeypatch, Batchwise(limit=0))
    heard = Heard()
    assert score(posts, reporter=heard) == first
    assert "nothing was done" in heard.notes[0]
    assert_finished(posts, one_go)
    other = use(monkeypatch, Batchwise("another"))
    score(posts)
    assert other.batches
    posts.write_text(posts.read_text(encoding="utf-8").replace(",9", ",nine"), encoding="utf-8")
    other.batches.clear()
    score(posts)
    assert other.batches
    assert "nine" in table(posts.with_name("scored.parquet"))["note"]


def test_shards_left_by_a_kill_after_the_last_step_are_removed(
    posts: Path, one_go: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Batchwise())
    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "remove", lambda self: None)
        score(posts)
    assert len(shards_in(posts)) == 7
    score(posts)
    assert_finished(posts, one_go)


def test_data_that_change_while_they_are_scored_are_not_mixed(
    posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Meddler(Batchwise):
        def score(self, complaints: Sequence[str]) -> ScoredComplaints:
            write_posts(posts, ROWS - 9)
            return super().score(complaints)

    use(monkeypatch, Meddler())
    with pytest.raises(WorkFailedError, match=r"posts\.csv was changed while it was scored"):
        score(posts)
    assert not posts.with_name("scored.parquet").exists()


def test_a_full_disk_loses_no_finished_shard(
    posts: Path, one_go: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def fills_up(tensors: Any, path: Path, metadata: Any) -> None:
        if len(written) == 3:
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        save_file(tensors, path, metadata=metadata)

    first = use(monkeypatch, Batchwise())
    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "save_file", fills_up)
        with pytest.raises(OSError, match="No space left"):
            score(posts)
    assert shards_in(posts) == [f"shard-{n:06d}.safetensors" for n in range(3)]
    second = use(monkeypatch, Batchwise())
    score(posts)
    assert_finished(posts, one_go)
    assert len(first.batches) + len(second.batches) == 7 + 1


def test_a_full_disk_in_the_merging_loses_no_shard(
    posts: Path, one_go: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    use(monkeypatch, Batchwise())
    with monkeypatch.context() as patch:
        patch.setattr("tarjih.severity.annotate.pq.ParquetWriter.write_table", full)
        with pytest.raises(OSError, match="No space left"):
            score(posts)
    assert shards_in(posts) == [f"shard-{n:06d}.safetensors" for n in range(7)]
    use(monkeypatch, Batchwise(limit=0))
    score(posts)
    assert_finished(posts, one_go)


def test_bad_rows_stop_it_before_any_work_and_leave_nothing(
    posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Batchwise(limit=0))
    posts.write_text(posts.read_text(encoding="utf-8") + ",x\n", encoding="utf-8")
    for call in (lambda: score(posts), lambda: score_part(posts, 1, 2)):
        with pytest.raises(DataError, match=f"row {ROWS + 1}, column 'complaint'"):
            call()
    assert list(posts.parent.iterdir()) == [posts]


def test_single_rows_that_are_not_arabic_are_told_of(
    posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Batchwise())
    posts.write_text(posts.read_text(encoding="utf-8") + "chest pain,x\n" * 2, encoding="utf-8")
    heard = Heard()
    assert score(posts, reporter=heard).rows == ROWS + 2
    (said,) = heard.warnings
    assert said.startswith(f"2 of {ROWS + 2} complaints hold no Arabic letter, the first in row 51")


@pytest.mark.parametrize("place", ["scored.parquet", "folder/../scored.parquet"])
def test_the_file_that_is_read_is_not_written(
    place: str, tmp_path: Path, posts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Batchwise())
    (tmp_path / "folder").mkdir()
    scored = score(posts).file
    before = scored.read_bytes()
    for share in (Share(), Share(0, 2, merges=False)):
        call = score_file if share.merges else score_share
        with pytest.raises(FolderError, match="what the command reads"):
            call(Path("model"), scored, tmp_path / place, share=share)
    assert scored.read_bytes() == before
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(FolderError, match="this is a folder"):
        score_file(Path("model"), posts, tmp_path / "x.parquet")


def test_memory_does_not_hold_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak grows by the 16 bytes of a digest a row, thrice while they are sorted."""
    monkeypatch.setattr(shards_module, "SHARD_ROWS", 256)
    monkeypatch.setattr(survey_module, "_BATCH", 256)

    class Forgetful(Batchwise):
        def score(self, complaints: Sequence[str]) -> ScoredComplaints:
            assert len(complaints) <= 256
            return ScoredComplaints(
                np.full((len(complaints), 3), 1 / 3), (False,) * len(complaints)
            )

    use(monkeypatch, Forgetful())
    peaks = []
    for rows in (1_000, 4_000):
        file = tmp_path / f"{rows}.csv"
        with file.open("w", encoding="utf-8") as stream:
            stream.write("complaint\n")
            stream.writelines(f"{ACHE} {row} {'x' * 1000}\n" for row in range(rows))
        tracemalloc.start()
        score_file(Path("model"), file, tmp_path / f"{rows}.parquet")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 200 * 3_000
