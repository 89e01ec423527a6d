"""The scores of a data file in parts that outlive a kill, made by one process or by several.

`FILE.parquet.work/` holds one shard for each `SHARD_ROWS` rows: their probabilities, and of which
annotator and of what data they are. It holds nothing that patients wrote.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tarjih.errors import FolderError, SettingsError
from tarjih.files import atomic_file
from tarjih.progress import SILENT, Reporter
from tarjih.records import SEVERITIES
from tarjih.severity.calibration import Floats, Integers

SHARD_ROWS = 4096
FORMAT = "tarjih.shard/1"
MERGED = "merged.parquet"
_METADATA = "tarjih"
_SUFFIX = ".safetensors"
_SUM_TOLERANCE = 1e-6
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True, slots=True)
class Share:
    """Which shards a process makes: `number`, `number + of`, `number + 2 of`, ...

    Attributes:
        number: in [0, of).
        of: how many share the work.
        merges: whether this process writes the file in the end.
    """

    number: int = 0
    of: int = 1
    merges: bool = True

    def takes(self, shard: int) -> bool:
        """Whether a shard is of this share."""
        return shard % self.of == self.number


WHOLE = Share()


def read_share(text: str) -> Share:
    """`2/4` -> the second of four shares, which does not merge.

    Raises:
        SettingsError: when it is not of that form.
    """
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise SettingsError(
            f"{text!r} is no share of the work", remedy="write for example 2/4 for the second of 4"
        )
    return Share(int(number) - 1, int(of), merges=False)


def share_of_process(asked: Share | None = None) -> Share:
    """The share of this process: `accelerate launch` and `torchrun` say which of how many it is.

    Args:
        asked: a share that the user named for this machine; its processes divide it among them,
            and none of them merges.

    Raises:
        SettingsError: when the environment variables RANK and WORLD_SIZE make no sense.
    """
    names = ("RANK", "WORLD_SIZE")
    texts = [os.environ.get(name, default) for name, default in zip(names, "01", strict=True)]
    if not all(text.isdecimal() for text in texts) or not int(texts[0]) < int(texts[1]):
        raise SettingsError(
            f"RANK={texts[0]} of WORLD_SIZE={texts[1]} is no place among processes",
            remedy="start it with `accelerate launch`, or unset these environment variables",
        )
    rank, ranks = map(int, texts)
    if asked is None:
        return Share(rank, ranks, merges=rank == 0)
    return Share(asked.number + asked.of * rank, asked.of * ranks, merges=False)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The scores of n rows that follow each other.

    Attributes:
        first_rows: (n,) the row of the file, counted from 0, with whose scores a row goes: its own,
            or that of an earlier row with the same complaint.
        probabilities: (n, 3), rows summing to 1 where the scores are the row's own, else zero.
        out_of_fold: (n,) whether the annotator was fitted on the complaint; see `ScoredComplaints`.
    """

    first_rows: Integers
    probabilities: Floats
    out_of_fold: npt.NDArray[np.bool_]


class WorkFolder:
    """The shards of one output file.

    Args:
        out: the file to be written.
        plan: what the scores depend on, as JSON: `annotator` and `data`.
    """

    def __init__(self, out: Path, plan: dict[str, Any]) -> None:
        self.out = out
        self.folder = out.with_name(f"{out.name}.work")
        self.plan: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **plan}))

    def claim(self) -> None:
        """Make the folder, or find that it is one of ours.

        Raises:
            FolderError: when it cannot be written to, or holds anything else.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            strangers = sorted(path.name for path in self.folder.iterdir() if not _is_ours(path))
            writable = os.access(self.folder, os.W_OK | os.X_OK)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise self._unwritable(error.strerror) from None
        if not writable:
            raise self._unwritable(os.strerror(errno.EACCES))
        if strangers:
            raise FolderError(
                f"finished shards would be kept here, but it holds {strangers[0]}, which is none",
                file=self.folder,
                remedy="name another file with --out, or move this folder away",
            )

    def _unwritable(self, why: str | None) -> FolderError:
        return FolderError(
            f"finished shards cannot be kept here ({why})",
            file=self.folder,
            remedy="name a file with --out in a folder that you may write to",
        )

    def path(self, number: int) -> Path:
        """Where a shard is, or will be."""
        return self.folder / f"shard-{number:06d}{_SUFFIX}"

    def has(self, number: int) -> bool:
        """Whether a shard is there."""
        return self.path(number).is_file()

    def is_there(self) -> bool:
        """Whether the folder is; the process that merges removes it."""
        return self.folder.is_dir()

    def write(self, number: int, first_row: int, shard: Shard) -> None:
        """Write a shard atomically."""
        tensors = {
            "first_rows": shard.first_rows,
            "probabilities": shard.probabilities,
            "out_of_fold": shard.out_of_fold,
        }
        rows = {"first_row": first_row, "rows": len(shard.first_rows)}
        metadata = json.dumps({**self.plan, **rows}, ensure_ascii=False)
        with atomic_file(self.path(number)) as temporary:
            save_file(tensors, temporary, metadata={_METADATA: metadata})

    def read(self, number: int, first_row: int, rows: int) -> Shard | None:
        """Read a shard; None when it is gone, or cut short as a copy from elsewhere may be.

        Raises:
            FolderError: when it is from another annotator, from other data, or of other rows.
        """
        path = self.path(number)
        found, tensors = _open(path)
        if found is None:
            return None
        self._refuse_other(path, found, {"first_row": first_row, "rows": rows})
        try:
            shard = Shard(**tensors)
        except TypeError:  # a tensor too few or too many
            return None
        return shard if _is_whole(shard, first_row, rows) else None

    def _refuse_other(self, path: Path, found: dict[str, Any], rows: dict[str, int]) -> None:
        wanted = {**self.plan, **rows}
        if found == wanted:
            return
        annotator, data = (
            _differences(found.get(name), wanted[name]) for name in ("annotator", "data")
        )
        if annotator:
            what = f"this shard is from another annotator (different: {', '.join(annotator)})"
        elif data:
            what = f"this shard is from other data (different: {', '.join(data)})"
        else:
            what = "this shard is from another version of tarjih"
        raise FolderError(
            what,
            file=path,
            remedy="give the annotator and the data that the shards were begun with, name another "
            f"file with --out, or remove the folder {self.folder.name} to begin again",
        )

    def remove(self) -> None:
        """Remove the shards of this plan, and the folder if nothing else is in it."""
        for path in self.folder.iterdir() if self.is_there() else ():
            if _is_ours(path) and self._is_of_plan(path):
                path.unlink(missing_ok=True)
        self.release()

    def _is_of_plan(self, path: Path) -> bool:
        if path.suffix != _SUFFIX:
            return True  # what a kill left of a file that was being written
        found, _ = _open(path)
        return found is None or self.plan.items() <= found.items()

    def release(self) -> None:
        """Remove the folder if there is nothing in it."""
        try:
            self.folder.rmdir()
        except OSError as error:  # another process is still writing, or was quicker
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise

    def damaged(self, number: int) -> FolderError:
        """The error for a shard that went bad, or was removed, after it was looked at."""
        return FolderError(
            "this shard is damaged or gone; another process may have merged it",
            file=self.path(number),
            remedy="run the same command again, once no other is running: it makes what is missing",
        )


def _is_ours(path: Path) -> bool:
    # safetensors writes to a name like .tmpAb12Cd first, which another process may see; so may a
    # file that is gone again once it is looked at, and is not taken for a stranger then.
    kinds = ("shard-", ".shard-", ".tmp", MERGED, f".{MERGED}")
    return path.name.startswith(kinds) and not path.is_dir()


def _open(path: Path) -> tuple[dict[str, Any] | None, dict[str, npt.NDArray[Any]]]:
    """What a shard says of itself, and its arrays; None when the file is gone or cut short."""
    try:
        with safe_open(path, framework="numpy") as file:
            found = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            return found, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, FileNotFoundError, json.JSONDecodeError):
        return None, {}


def _differences(found: Any, wanted: dict[str, Any]) -> list[str]:
    if not isinstance(found, dict):
        return ["all"]
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def _is_whole(shard: Shard, first_row: int, rows: int) -> bool:
    kinds = {"first_rows": np.int64, "probabilities": np.float64, "out_of_fold": np.bool_}
    if any(getattr(shard, name).dtype != kind for name, kind in kinds.items()):
        return False
    if shard.first_rows.shape != (rows,) or shard.out_of_fold.shape != (rows,):
        return False
    if shard.probabilities.shape != (rows, len(SEVERITIES)):
        return False
    own = np.arange(first_row, first_row + rows)
    sums = shard.probabilities[shard.first_rows == own].sum(axis=1)
    in_order = ((shard.first_rows >= 0) & (shard.first_rows <= own)).all()
    return bool(in_order and (np.abs(sums - 1) <= _SUM_TOLERANCE).all())


@dataclass(frozen=True, slots=True)
class ShardRange:
    """The rows of a shard: `first_row` and the `rows - 1` after it."""

    number: int
    first_row: int
    rows: int


def shard_ranges(rows: int) -> list[ShardRange]:
    """How so many rows are divided into shards; this depends on nothing else."""
    return [
        ShardRange(number, first, min(SHARD_ROWS, rows - first))
        for number, first in enumerate(range(0, rows, SHARD_ROWS))
    ]


def missing_shards(
    work: WorkFolder, ranges: Iterable[ShardRange], reporter: Reporter = SILENT
) -> list[ShardRange]:
    """Those that are not there; one that was cut short is removed.

    Raises:
        FolderError: when one is from another annotator or other data.
    """
    missing = []
    for one in ranges:
        if work.has(one.number):
            if work.read(one.number, one.first_row, one.rows) is not None:
                continue
            reporter.warn(f"{work.path(one.number)} is damaged: it is made again")
            work.path(one.number).unlink(missing_ok=True)
        missing.append(one)
    return missing


def wait_for_one(work: WorkFolder, missing: Iterable[ShardRange], patience: float) -> bool:
    """Whether another process finishes one of the missing shards within so many seconds."""
    numbers = [one.number for one in missing]
    deadline = time.monotonic() + patience
    while not any(map(work.has, numbers)):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return True


# What a row's scores are kept as while a file is merged.
SCORE = np.dtype([("probabilities", np.float64, (3,)), ("out_of_fold", np.bool_)])
Scores = npt.NDArray[Any]


def gather(
    work: WorkFolder, ranges: Iterable[ShardRange], store: IO[bytes]
) -> Iterator[tuple[Scores, int]]:
    """The scores of each shard's rows in order, with those of earlier rows filled in.

    Args:
        work: with all shards.
        ranges: of all shards, in order.
        store: an empty file; it gets the scores of all rows, so that memory need not hold them.

    Yields:
        The scores (n,) of type `SCORE`, and for how many of the rows they are the row's own.

    Raises:
        FolderError: when a shard is damaged or foreign.
    """
    for one in ranges:
        shard = work.read(one.number, one.first_row, one.rows)
        if shard is None:
            raise work.damaged(one.number)
        scores = np.zeros(one.rows, dtype=SCORE)
        scores["probabilities"] = shard.probabilities
        scores["out_of_fold"] = shard.out_of_fold
        within = shard.first_rows >= one.first_row
        scores[within] = scores[shard.first_rows[within] - one.first_row]
        if not within.all():
            earlier: Scores = np.memmap(store, dtype=SCORE, mode="r")
            scores[~within] = earlier[shard.first_rows[~within]]
        store.write(scores.tobytes())
        store.flush()
        own = np.arange(one.first_row, one.first_row + one.rows)
        yield scores, int((shard.first_rows == own).sum())
