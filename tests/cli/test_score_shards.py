"""`tarjih severity score` with kills, with several processes, and on several machines."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from cli.commands import Fault, Finished, run_apart, run_here
from tarjih.cli.console import out as console
from tarjih.severity.annotator import BUILTIN_LEXICON
from tarjih.severity.shards import SHARD_ROWS

ACHE = "\u0648\u062c\u0639"  # waja': ache
BREATHLESS = "\u0636\u064a\u0642 \u0646\u0641\u0633"  # diq nafas: short of breath
ROWS = 2 * SHARD_ROWS + 300  # three shards
ALL = [f"shard-{number:06d}.safetensors" for number in range(3)]


def write_posts(file: Path, rows: int = ROWS, distinct: int = 600) -> Path:
    lines = []
    for row in range(rows):
        number = row if row % 50 == 0 else row % distinct
        lines.append(f"{(ACHE, BREATHLESS)[number % 7 == 0]} {number},{row}")
    file.write_text("\n".join(["complaint,note", *lines]) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posts(tmp_path_factory.mktemp("posts") / "posts.csv")


@pytest.fixture(scope="module")
def one_go(posts: Path) -> dict[str, list[Any]]:
    out = posts.with_name("one-go.parquet")
    done = run_here(*command(posts, out))
    assert done.code == 0, done.shown
    assert f"{ROWS:,} rows: " in done.out
    assert re.search(r"[\d,]+ distinct complaints; the other rows repeat them", done.out)
    written = table(out)
    assert written["note"] == [str(row) for row in range(ROWS)]
    assert len(set(written["severity"])) > 1
    return written


def command(posts: Path, out: Path, *more: str) -> list[object]:
    return ["severity", "score", BUILTIN_LEXICON, posts, "--out", out, *more]


def table(file: Path) -> dict[str, list[Any]]:
    return dict(pq.read_table(file).to_pydict())


def shards(out: Path) -> dict[str, int]:
    """The finished shards, and when each was written."""
    work = out.with_name(f"{out.name}.work")
    if not work.is_dir():
        return {}
    return {file.name: file.stat().st_mtime_ns for file in work.glob("shard-*")}


def assert_finished(out: Path, one_go: dict[str, list[Any]]) -> None:
    assert table(out) == one_go
    assert [path.name for path in out.parent.iterdir() if path != out] in ([], ["log"])


@pytest.mark.parametrize(
    ("place", "call", "kept"),
    [
        ("tarjih.severity.annotate:survey_file", 1, 0),
        ("tarjih.severity.shards:WorkFolder.write", 1, 0),
        ("tarjih.files:_flush", 2, 1),
        ("tarjih.severity.shards:WorkFolder.write", 3, 2),
        ("tarjih.severity.scored_table:cells", 2, 3),
        ("tarjih.files:_flush", 4, 3),
        ("tarjih.severity.annotate:_Job.refuse_changed_data", 1, 3),
        ("tarjih.severity.shards:WorkFolder.remove", 1, 3),
    ],
)
def test_finished_shards_outlive_a_kill_and_are_not_made_again(
    place: str,
    call: int,
    kept: int,
    posts: Path,
    one_go: dict[str, list[Any]],
    tmp_path: Path,
) -> None:
    out = tmp_path / "scored.parquet"
    killed = run_apart(tmp_path / "log", *command(posts, out), fault=Fault(place, call))
    assert killed.code == -signal.SIGKILL, killed.err
    before = shards(out)
    assert sorted(before) == ALL[:kept]
    assert out.exists() == place.endswith("remove")
    stopped = run_apart(
        tmp_path / "log",
        *command(posts, out),
        fault=Fault("tarjih.severity.annotate:_Job.merge", 1, signal.SIGINT),
    )
    if not out.exists():
        assert stopped.code == 130, stopped.err
        assert "the same command goes on from there" in stopped.err
        assert "Traceback" not in stopped.err
        assert before.items() <= shards(out).items()
        assert sorted(shards(out)) == ALL
        if kept:
            assert f"{kept} of 3 shards are there already" in stopped.err
    done = run_here(*command(posts, out))
    assert done.code == 0, done.shown
    assert_finished(out, one_go)


def test_shares_made_on_machines_apart_are_merged_by_the_plain_command(
    posts: Path, one_go: dict[str, list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "scored.parquet"
    for machine, expected in ((2, ALL[1:2]), (1, ALL[::2])):
        there = tmp_path / f"machine-{machine}"
        there.mkdir()
        copy = Path(shutil.copy(posts, there / "renamed.csv"))
        done = run_here(*command(copy, there / "scored.parquet", "--shard", f"{machine}/2"))
        assert done.code == 0, done.shown
        assert "without --shard" in done.out
        assert sorted(shards(there / "scored.parquet")) == expected
        assert not (there / "scored.parquet").exists()
        shutil.copytree(
            there / "scored.parquet.work", tmp_path / "scored.parquet.work", dirs_exist_ok=True
        )
        shutil.rmtree(there)
    done = run_here(*command(posts, out))
    assert done.code == 0, done.shown
    assert "3 of 3 shards are there already" in done.err
    assert_finished(out, one_go)


def test_the_first_of_several_processes_merges(
    posts: Path,
    one_go: dict[str, list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "scored.parquet"
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(console, "quiet", True)
    second = run_here(*command(posts, out))
    assert (second.code, second.shown) == (0, "")
    assert sorted(shards(out)) == ALL[1:2]
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(console, "quiet", False)
    first = run_here(*command(posts, out))
    assert first.code == 0, first.shown
    assert_finished(out, one_go)
    again = run_here(*command(posts, out))
    assert again.code == 0
    assert again.out == first.out
    assert "nothing was done" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shard", "3/2"], "'3/2' is no share of the work"),
        (["--column", "complaint=note"], "no Arabic letter"),
        (["--column", "complaint=nothing"], "there is no such column"),
    ],
)
def test_wrong_input_is_told_before_any_work(
    arguments: list[str], said: str, posts: Path, tmp_path: Path
) -> None:
    done = run_here(*command(posts, tmp_path / "scored.parquet", *arguments))
    assert_refused(done, said)
    assert list(tmp_path.iterdir()) == []


def test_shards_of_another_annotator_are_told_from_ours(
    posts: Path, annotator: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scored.parquet"
    assert run_here(*command(posts, out, "--shard", "1/3")).code == 0
    before = shards(out)
    done = run_here("severity", "score", annotator, posts, "--out", out)
    assert_refused(done, "this shard is from another annotator (different: annotator, ")
    assert_refused(run_here(*command(write_posts(tmp_path / "x.csv", 99), out)), "from other data")
    assert shards(out) == before


def test_a_folder_that_cannot_be_made_is_named(posts: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = run_here(*command(posts, tmp_path / "file" / "scored.parquet"))
    assert_refused(done, str(tmp_path / "file" / "scored.parquet.work"))


def assert_refused(done: Finished, said: str) -> None:
    assert done.code == 2, done.shown
    assert said in done.err
    assert "What to do: " in done.err
    assert "Traceback" not in done.shown
    assert ACHE not in done.shown


# Real processes, as accelerate starts them.


def launcher(arguments: Sequence[object]) -> list[str]:
    """`accelerate launch` of two processes on this machine, without GPUs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    plain = ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port)]
    program = [sys.executable, "-m", "accelerate.commands.launch", *options, *plain]
    return [*program, "-m", "tarjih", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


@pytest.mark.slow
def test_two_launched_processes_come_to_what_one_does(
    posts: Path, one_go: dict[str, list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "scored.parquet"
    done = subprocess.run(
        launcher(command(posts, out)),
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert done.stdout.count(f"{ROWS:,} rows: ") == 1
    assert done.stdout.count("Written to") == 1
    assert_finished(out, one_go)


@pytest.mark.slow
def test_a_launched_process_that_dies_leaves_no_other_waiting(
    tmp_path: Path,
) -> None:
    posts = write_posts(tmp_path / "posts.csv", 40 * SHARD_ROWS, distinct=80_000)
    out = tmp_path / "scored.parquet"
    process = subprocess.Popen(
        launcher(command(posts, out)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    deadline = time.monotonic() + 300
    while len(shards(out)) < 4:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    ranks = [
        one
        for one in psutil.Process(process.pid).children(recursive=True)
        if one.environ().get("RANK") == "1"
    ]
    ranks[-1].kill()
    assert process.wait(timeout=300) != 0
    assert not out.exists()
    before = shards(out)
    assert 4 <= len(before) < 40
    done = run_here(*command(posts, out))
    assert done.code == 0, done.shown
    assert f"{len(before)} of 40 shards are there already" in done.err
    assert table(out)["note"] == [str(row) for row in range(40 * SHARD_ROWS)]
