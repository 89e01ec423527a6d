"""Prepare raw consultations: clean them, and split them without leaks, into one folder.

The folder holds ``train.parquet``, ``validation.parquet``, ``test.parquet``, ``rejects.jsonl``
(which rows were set aside and why, without what patients wrote) and ``summary.json``. It appears
whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from tarjih.data.accept import SCHEMA, Accepted
from tarjih.data.columns import ColumnMap
from tarjih.data.duplicates import Fingerprints, find_groups
from tarjih.data.read import REMEDIES, FaultKind, OpenedRows, open_rows, read_consultations
from tarjih.data.sources import BUNDLED, Source, find_source, source_digest
from tarjih.data.split import SPLITS, assign_splits
from tarjih.data.summary import PrepareSettings, PrepareSummary, SourceSummary, SplitSummary
from tarjih.errors import DataError, FolderError
from tarjih.files import atomic_folder, read_json, sha256_of, sha256_of_file, write_json
from tarjih.records import Consultation

SUMMARY_FILE = "summary.json"
REJECTS_FILE = "rejects.jsonl"
_BATCH_ROWS = 1 << 15
_OUTPUT_SCHEMA = SCHEMA.append(pa.field("group", pa.string(), nullable=False))


def prepare(
    sources: Sequence[str],
    out: Path,
    settings: PrepareSettings,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> PrepareSummary:
    """Prepare sources into a folder; reuse the folder when it already holds just that.

    Of exact duplicates the first is kept, so name labelled sources first. Near-duplicate complaints
    stay in one split. Memory grows by about 500 bytes a row, not with the texts.

    Args:
        sources: files, saved `datasets` folders, hub ids or ``bundled:consultations``.
        out: the folder to make.
        settings: how.
        columns: our name -> the files' column; the rest is found by name.
        encoding: of text files; None means UTF-8.
        overwrite: replace a prepared folder that was made from other data or with other settings.
        progress: called now and then with the number of rows read so far.

    Raises:
        DataError: when a source cannot be read or lacks columns, a value is bad and
            `reject_bad_values` is off, or too few rows are left for three splits.
        FolderError: when `out` holds something else.
    """
    found = [find_source(source) for source in sources]
    if not found:
        raise DataError("no source was named", remedy=f"name a file, or {BUNDLED}")
    names = _names(found)
    digests = [source_digest(source) for source in found]
    request = {
        "settings": settings.model_dump(mode="json"),
        "columns": dict(columns or {}),
        "encoding": encoding,
    }
    existing = _existing(out)
    if existing is not None:
        if _same(existing, request, digests) and _intact(out, existing):
            return existing.model_copy(update={"reused": True})
        if not overwrite:
            raise FolderError(
                "the folder holds data prepared from other sources or with other settings",
                file=out,
                remedy="choose another folder, or replace this one with --overwrite",
            )
    with atomic_folder(out) as folder:
        with Accepted(folder, mask=settings.mask_contacts, progress=progress) as accepted:
            opened = _open(found, settings, columns, encoding)
            for name, part in zip(names, opened, strict=True):
                accepted.add_source(name, part)
        _check_faults(accepted, settings)
        if not accepted.strata:
            raise _nothing_left(accepted)
        parts = _second_pass(folder, accepted, settings)
        accepted.file.unlink()
        summary = PrepareSummary(
            **request,
            **parts,
            sources=_source_summaries(names, digests, opened, accepted),
            rows_read=accepted.rows_read,
            rejected=dict(sum(accepted.rejected.values(), Counter())),
            masked_rows=accepted.masked_rows,
            repeated_ids=accepted.ids.repeated,
        )
        write_json(folder / SUMMARY_FILE, summary.model_dump(mode="json"))
    return summary


def load_split(data: str | Path, split: str) -> list[Consultation]:
    """The consultations of one split of a prepared folder, or all of a single file or source.

    Raises:
        DataError: when the folder lacks the split or the file cannot be read.
    """
    if split not in SPLITS:
        raise DataError(f"there is no split {split!r}", remedy=f"use {', '.join(SPLITS)}")
    folder = Path(data)
    if not (folder / SUMMARY_FILE).is_file():
        return read_consultations(data)
    file = folder / f"{split}.parquet"
    if not file.is_file():
        raise DataError(
            "the prepared folder lacks this split", file=file, remedy="prepare the data again"
        )
    return read_consultations(file)


def _names(sources: Sequence[Source]) -> list[str]:
    counts = Counter(source.name for source in sources)
    return [source.name if counts[source.name] == 1 else source.given for source in sources]


def _existing(out: Path) -> PrepareSummary | None:
    """The summary of what is at `out`; None when there is nothing.

    Raises:
        FolderError: when something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        return PrepareSummary.model_validate(read_json(out / SUMMARY_FILE))
    except (DataError, ValidationError, NotADirectoryError):
        raise FolderError(
            "this is not a folder of prepared data, so nothing in it is touched",
            file=out,
            remedy="choose another folder for the prepared data",
        ) from None


def _same(existing: PrepareSummary, request: Mapping[str, Any], digests: Sequence[str]) -> bool:
    known = existing.model_dump(mode="json")
    return [source.sha256 for source in existing.sources] == list(digests) and all(
        known[key] == value for key, value in request.items()
    )


def _intact(out: Path, existing: PrepareSummary) -> bool:
    return all(
        (out / name).is_file() and sha256_of_file(out / name) == digest
        for name, digest in existing.files.items()
    )


def _open(
    found: Sequence[Source],
    settings: PrepareSettings,
    columns: Mapping[str, str] | None,
    encoding: str | None,
) -> list[OpenedRows]:
    opened = [
        open_rows(
            source.given,
            columns=columns,
            encoding=encoding,
            labels=settings.labels,
            columns_for_several=len(found) > 1,
        )
        for source in found
    ]
    _check_told(columns or {}, [part.columns for part in opened])
    return opened


def _check_told(columns: Mapping[str, str], maps: Sequence[ColumnMap]) -> None:
    for ours, theirs in columns.items():
        if not any(ours in part.told for part in maps):
            raise DataError(
                "none of the sources has this column",
                column=theirs,
                remedy=f"check --column {ours}={theirs}",
            )


def _check_faults(accepted: Accepted, settings: PrepareSettings) -> None:
    if not accepted.faults or settings.reject_bad_values:
        return
    count = accepted.fault_count
    errors = [fault.as_error(file, row) for file, row, fault in accepted.faults]
    lines = [f"  - {str(error).splitlines()[0]}" for error in errors]
    kinds = {fault.kind for _, _, fault in accepted.faults}
    remedies = [remedy for kind, remedy in REMEDIES.items() if kind in kinds]
    if FaultKind.UNKNOWN_SEVERITY in kinds:
        remedies.append("say what a label means with --label LABEL=critical")
    shown = "" if count <= len(lines) else f"; the first {len(lines)} are"
    raise DataError(
        f"{count} row{'s have' if count > 1 else ' has'} values that cannot be used{shown}\n"
        + "\n".join(lines),
        remedy="; ".join(remedies) + "; or set such rows aside with --reject-bad-values",
    )


def _nothing_left(accepted: Accepted) -> DataError:
    reasons = sum(accepted.rejected.values(), Counter[str]())
    shown = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return DataError(
        f"none of the {accepted.rows_read} rows can be used ({shown})",
        remedy="check that the right columns were taken: --column complaint=NAME",
    )


def _second_pass(folder: Path, accepted: Accepted, settings: PrepareSettings) -> dict[str, Any]:
    """Group, split and write; the part of the summary that says what came of it."""
    rows = len(accepted.strata)
    kept = _drawn(rows, settings)
    prints = accepted.fingerprints()
    if len(kept) < rows:
        prints = Fingerprints(prints.whole[kept], prints.prefix[kept], prints.signatures[kept])
    roots = find_groups(prints, settings.near_duplicate_similarity)
    groups = _group_names(roots, prints.whole)
    del prints
    strata = [accepted.strata[index] for index in kept]
    fractions = {"validation": settings.validation_fraction, "test": settings.test_fraction}
    splits = assign_splits(groups, strata, fractions, settings.seed)
    sizes = Counter(groups)
    specialties = _write_splits(folder, accepted.file, kept, groups, splits)
    files = {name: sha256_of_file(folder / name) for name in (*_split_files(), REJECTS_FILE)}
    return {
        "rows_kept": len(kept),
        "rows_not_drawn": rows - len(kept),
        "groups": len(sizes),
        "near_duplicate_rows": sum(size for size in sizes.values() if size > 1),
        "largest_group": max(sizes.values()),
        "splits": _split_summaries(groups, splits, strata, specialties),
        "files": files,
        "data_hash": sha256_of({name: files[name] for name in _split_files()}),
    }


def _split_files() -> list[str]:
    return [f"{split}.parquet" for split in SPLITS]


def _drawn(rows: int, settings: PrepareSettings) -> npt.NDArray[np.int64]:
    if settings.max_rows is None or settings.max_rows >= rows:
        return np.arange(rows)
    random = np.random.default_rng(settings.seed)
    return np.sort(random.choice(rows, settings.max_rows, replace=False))


def _group_names(roots: npt.NDArray[np.int64], whole: npt.NDArray[np.uint64]) -> list[str]:
    """A name for each row's group that does not depend on the order of the rows."""
    lowest = np.full(len(roots), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(lowest, roots, whole)
    return [f"{value:016x}" for value in lowest[roots].tolist()]


def _write_splits(
    folder: Path,
    file: Path,
    kept: npt.NDArray[np.int64],
    groups: Sequence[str],
    splits: Sequence[str],
) -> dict[str, Counter[str]]:
    """Deal the accepted rows to the files of the splits; the specialties of each split."""
    split_of = np.array(splits)
    specialties: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    writers = {
        split: pq.ParquetWriter(folder / f"{split}.parquet", _OUTPUT_SCHEMA, compression="zstd")
        for split in SPLITS
    }
    first = 0
    with pq.ParquetFile(file) as accepted:
        for batch in accepted.iter_batches(batch_size=_BATCH_ROWS):
            start, end = np.searchsorted(kept, [first, first + len(batch)]).tolist()
            table = pa.Table.from_batches([batch]).take(pa.array(kept[start:end] - first))
            table = table.append_column("group", pa.array(groups[start:end], pa.string()))
            table = table.cast(_OUTPUT_SCHEMA)
            for split, writer in writers.items():
                part = table.filter(pa.array(split_of[start:end] == split))
                writer.write_table(part)
                names = part.column("specialty").to_pylist()
                specialties[split].update(name for name in names if name is not None)
            first += len(batch)
    for writer in writers.values():
        writer.close()
    return specialties


def _split_summaries(
    groups: Sequence[str],
    splits: Sequence[str],
    strata: Sequence[str],
    specialties: Mapping[str, Counter[str]],
) -> dict[str, SplitSummary]:
    counts = Counter(zip(splits, strata, strict=True))
    members: dict[str, set[str]] = {split: set() for split in SPLITS}
    for group, split in zip(groups, splits, strict=True):
        members[split].add(group)

    def by_severity(split: str, origin: str) -> dict[str, int]:
        found = {
            stratum.removeprefix(origin): count
            for (place, stratum), count in counts.items()
            if place == split and stratum.startswith(origin)
        }
        return dict(sorted(found.items()))

    return {
        split: SplitSummary(
            rows=sum(count for (place, _), count in counts.items() if place == split),
            groups=len(members[split]),
            labelled_severity=by_severity(split, "labelled "),
            estimated_severity=by_severity(split, "estimated "),
            specialty=dict(specialties[split].most_common()),
        )
        for split in SPLITS
    }


def _source_summaries(
    names: Sequence[str],
    digests: Sequence[str],
    opened: Sequence[OpenedRows],
    accepted: Accepted,
) -> list[SourceSummary]:
    return [
        SourceSummary(
            name=name,
            sha256=digest,
            rows=accepted.accepted[name] + accepted.rejected[name].total(),
            accepted=accepted.accepted[name],
            rejected=dict(accepted.rejected[name]),
            columns=dict(part.columns.names),
            told=sorted(part.columns.told),
            probability_scale=part.scale if part.columns.has_probabilities else None,
        )
        for name, digest, part in zip(names, digests, opened, strict=True)
    ]
