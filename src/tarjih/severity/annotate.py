"""Fit an annotator on labelled complaints, score files of any size with it, and measure it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tarjih import __version__
from tarjih.data.read import read_consultations
from tarjih.data.tables import RawRow
from tarjih.errors import DataError, FolderError, WorkFailedError
from tarjih.files import atomic_file, read_json
from tarjih.progress import SILENT, Advance, Reporter
from tarjih.records import SEVERITIES, Consultation, Severity, SeverityDistribution
from tarjih.severity import scored_table
from tarjih.severity.annotator import (
    MANIFEST,
    NO_WORK,
    Annotator,
    AnnotatorSettings,
    Work,
    annotator_class,
    load_annotator,
)
from tarjih.severity.answered import AnsweredComplaints, rows_of, told_apart
from tarjih.severity.measures import SeverityMeasures, measure
from tarjih.severity.scored_table import LABEL_COLUMN, SEVERITY_COLUMN, ScoredFile, Totals
from tarjih.severity.shards import (
    MERGED,
    WHOLE,
    Shard,
    ShardRange,
    Share,
    WorkFolder,
    gather,
    missing_shards,
    shard_ranges,
    wait_for_one,
)
from tarjih.severity.stretches import warn_of_stretches
from tarjih.severity.survey import DataFile, Repeats, survey_file

_PATIENCE = 300.0  # seconds without a new shard after which the other processes count as gone


@dataclass(frozen=True, slots=True)
class ScoredShare:
    """What `score_share` left: `shards` with `rows` rows in `folder`."""

    folder: Path
    shards: int
    rows: int


def fit_annotator(
    labelled: Sequence[Consultation], settings: AnnotatorSettings, work: Work = NO_WORK
) -> Annotator[Any]:
    """Fit the annotator that the settings name on complaints that people labelled.

    Raises:
        DataError: when a row has no label, a severity is missing, or there are too few rows.
        ModelError: when there is no annotator of that kind.
    """
    complaints = AnsweredComplaints.of(labelled)
    return annotator_class(settings.kind).fit(complaints, _labels(labelled), settings, work)


def score_consultations(
    annotator: Annotator[Any], consultations: Sequence[Consultation]
) -> list[Consultation]:
    """The consultations with the annotator's probabilities; everything else stays as it is.

    Raises:
        DataError: when the annotator reads responses and a consultation has none.
    """
    scored = annotator.score(AnsweredComplaints.of(consultations))
    return [
        replace(consultation, probabilities=SeverityDistribution(*map(float, row)))
        for consultation, row in zip(consultations, scored.probabilities, strict=True)
    ]


def evaluate_file(
    model_folder: Path,
    labelled: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    reporter: Reporter = SILENT,
) -> SeverityMeasures:
    """Measure an annotator on a file with people's labels.

    Complaints that it was fitted on are scored out of fold; the measures say how many they are.
    The reporter hears of parts of the file that seem to be labelled by another rule.

    Raises:
        ModelError: when the folder is not an annotator.
        DataError: when the file cannot be read or a row has no label.
    """
    annotator = load_annotator(model_folder)
    consultations = read_consultations(
        labelled, columns=columns, encoding=encoding, require_severity=True
    )
    warn_of_stretches(consultations, reporter)
    scored = annotator.score(AnsweredComplaints.of(consultations))
    return measure(
        scored.probabilities, _labels(consultations), out_of_fold_rows=scored.out_of_fold_rows
    )


def score_file(
    model_folder: Path,
    data: str | Path,
    out: Path,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    share: Share = WHOLE,
    reporter: Reporter = SILENT,
) -> ScoredFile:
    """Write a data file again, as Parquet, with the severity of each complaint.

    All rows (but wholly blank ones) stay, in their order, and all columns stay, as text. Added are
    `severity` (the most likely one), `p_non_critical`, `p_neutral` and `p_critical`. What a person
    labelled is kept as `labelled_severity`; earlier probabilities, and the severity that was
    derived from them, are replaced. The annotator's signature is in the file's metadata under
    `tarjih.annotator`.

    Each distinct complaint is scored once (see `Repeats`), in shards that are kept in `OUT.work`
    until all are there: the same call goes on after a kill, and other processes may make some of
    them. What is written does not depend on who made which shard. Memory does not grow with rows
    beyond the 16 bytes that each of the first four million takes. A file that is finished is not
    made again.

    Args:
        model_folder: an annotator's folder, or `builtin:lexicon`.
        data: Excel, CSV, TSV, JSON lines or Parquet, or another source that `open_rows` takes.
        out: a path ending in .parquet.
        columns: our column name -> the file's, where the names do not tell.
        encoding: of a text file, where it is not recognised.
        share: of the shards, where other processes make the others at the same time; when they
            stop finishing any, their shards are made here.
        reporter: of stages, notes and warnings.

    Raises:
        ModelError: when the folder is not an annotator.
        DataError: when the file cannot be read, is not Arabic text, or a row is damaged, has no
            complaint, or a label that is none of the three.
        FolderError: when `out` is what is read, or `OUT.work` cannot be written to or holds shards
            of another annotator or of other data.
        WorkFailedError: when the data are changed while they are scored.
    """
    job = _Job.plan(model_folder, data, out, columns, encoding, reporter)
    found = job.finished()
    if found is not None:
        job.work.remove()  # a kill may have come between the last two steps
        return found
    missing = job.begin()
    job.score([one for one in missing if share.takes(one.number)])
    patience = max(_PATIENCE, 3 * job.slowest) if share.of > 1 else 0.0
    while others := [one for one in missing if not job.work.has(one.number)]:
        if not wait_for_one(job.work, others, patience):
            reporter.warn(
                f"no other process makes these {len(others):,} shards: they are made here"
            )
            job.score(others)
            job.refuse_changed_data()
    return job.merge()


def score_share(
    model_folder: Path,
    data: str | Path,
    out: Path,
    share: Share,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    reporter: Reporter = SILENT,
) -> ScoredShare:
    """Make only the shards of one share, for a `score_file` that finds them in `OUT.work`.

    See `score_file` for the arguments and errors.
    """
    job = _Job.plan(model_folder, data, out, columns, encoding, reporter)
    if job.finished() is not None:
        return ScoredShare(job.work.folder, 0, 0)
    missing = job.begin()
    job.score([one for one in missing if share.takes(one.number)], stop_when_merged=True)
    if job.merged() is not None:
        job.work.remove()  # made too late to be of use
    mine = [one for one in job.ranges if share.takes(one.number)]
    return ScoredShare(job.work.folder, len(mine), sum(one.rows for one in mine))


@dataclass(slots=True)
class _Job:
    """The scoring of one file by this process."""

    annotator: Annotator[Any]
    file: DataFile
    kept: dict[str, str]
    work: WorkFolder
    reporter: Reporter
    ranges: list[ShardRange] = field(default_factory=list)
    repeats: Repeats | None = None
    slowest: float = 0.0  # seconds that a shard took here

    @classmethod
    def plan(
        cls,
        model_folder: Path,
        data: str | Path,
        out: Path,
        columns: Mapping[str, str] | None,
        encoding: str | None,
        reporter: Reporter,
    ) -> _Job:
        _check_out(out, data)
        annotator = load_annotator(model_folder)
        file = DataFile.find(
            data, columns=columns, encoding=encoding, reads_responses=annotator.reads_responses
        )
        plan = {
            "annotator": _identity(model_folder, annotator),
            "data": file.identity(),
            "tarjih": __version__,
        }
        kept = scored_table.kept_columns(file.columns, file.found, file.given)
        return cls(annotator, file, kept, WorkFolder(out, plan), reporter)

    def finished(self) -> ScoredFile | None:
        """What an earlier call wrote, if it came to its end."""
        found = self.merged()
        if found is not None:
            self.reporter.note(
                f"{found.file} holds the scores of this annotator and these data: nothing was done"
            )
        return found

    def merged(self) -> ScoredFile | None:
        """What the process that merges has written, once it is there."""
        return scored_table.finished(self.work.out, self.work.plan)

    def begin(self) -> list[ShardRange]:
        """Look at every row and at the shards that are there; those that are still to be made."""
        self.work.claim()
        try:
            with self.reporter.stage("reading complaints") as advance:
                survey = survey_file(self.file, advance)
        except BaseException:
            self.work.release()
            raise
        if survey.without_arabic:
            self.reporter.warn(
                f"{survey.without_arabic:,} of {survey.rows:,} complaints hold no Arabic letter, "
                f"the first in row {survey.first_without_arabic}; they are scored all the same"
            )
        self.repeats = survey.repeats
        self.ranges = shard_ranges(survey.rows)
        missing = missing_shards(self.work, self.ranges, self.reporter)
        there = len(self.ranges) - len(missing)
        if there:
            self.reporter.note(f"{there:,} of {len(self.ranges):,} shards are there already")
        return missing

    def score(self, wanted: Sequence[ShardRange], *, stop_when_merged: bool = False) -> None:
        """Make shards, but for those that another process has made by then."""
        chosen = {one.number: one for one in wanted}
        if not chosen:
            return
        with self.reporter.stage("scoring complaints", sum(one.rows for one in wanted)) as advance:
            for number, batch in enumerate(self.file.batches(self.ranges[0].rows)):
                if stop_when_merged and self.merged() is not None:
                    return
                if number in chosen:
                    one = chosen[number]
                    if not self.work.has(number):
                        self.work.write(number, one.first_row, self._shard(batch, one.first_row))
                    advance(one.rows)

    def _shard(self, batch: Sequence[RawRow], first_row: int) -> Shard:
        started = time.monotonic()
        assert self.repeats is not None
        complaints = self.file.complaints(batch)
        texts = told_apart(complaints)
        first_rows = self.repeats.first_rows(texts, first_row)
        own = np.arange(first_row, first_row + len(batch))
        here: dict[str, int] = {}  # for rows beyond those that are remembered
        for place in np.flatnonzero(first_rows == own):
            first_rows[place] = here.setdefault(texts[int(place)], int(own[place]))
        places = np.flatnonzero(first_rows == own)
        scored = self.annotator.score(rows_of(complaints, places))
        probabilities = np.zeros((len(batch), len(SEVERITIES)))
        probabilities[places] = scored.probabilities
        out_of_fold = np.zeros(len(batch), dtype=np.bool_)
        out_of_fold[places] = scored.out_of_fold
        self.slowest = max(self.slowest, time.monotonic() - started)
        return Shard(first_rows, probabilities, out_of_fold)

    def merge(self) -> ScoredFile:
        """Write all rows with the scores of all shards, and remove the shards."""
        merged = self.work.folder / MERGED
        with (
            atomic_file(merged) as temporary,
            TemporaryFile(dir=self.work.folder) as store,
            self.reporter.stage("writing rows", sum(one.rows for one in self.ranges)) as advance,
        ):
            totals = self._write(temporary, store, advance)
        self.refuse_changed_data()
        merged.replace(self.work.out)
        self.work.remove()
        return totals.of_file(self.work.out)

    def _write(self, place: Path, store: IO[bytes], advance: Advance) -> Totals:
        schema = scored_table.schema(self.kept.values(), self.annotator.signature())
        totals = Totals()
        batches = self.file.batches(self.ranges[0].rows)
        with pq.ParquetWriter(place, schema) as writer:
            for batch, (scores, scored) in zip(
                batches, gather(self.work, self.ranges, store), strict=False
            ):
                if len(batch) != len(scores):
                    break  # the data were changed, which the caller tells
                cells = scored_table.cells(batch, self.kept, scores)
                writer.write_table(pa.table(cells, schema=schema))
                totals.add(cells[SEVERITY_COLUMN], scored, scores)
                advance(len(batch))
            writer.add_key_value_metadata(totals.metadata(self.work.plan))
        return totals

    def refuse_changed_data(self) -> None:
        """Stop when the file is not the one any more that the plan was made for.

        Raises:
            WorkFailedError: saying so.
        """
        if self.file.identity() != self.work.plan["data"]:
            raise WorkFailedError(
                f"{self.file.given} was changed while it was scored\nWhat to do: remove the folder "
                f"{self.work.folder} and run the same command again"
            )


def _check_out(out: Path, data: str | Path) -> None:
    if out.suffix != ".parquet":
        raise DataError(
            "scored data are written as Parquet", file=out, remedy="end the name in .parquet"
        )
    if out.is_dir():
        raise FolderError(
            "this is a folder, but --out names the file to write",
            file=out,
            remedy=f"name a file, such as {out / 'FILE.parquet'}",
        )
    if Path(data).exists() and Path(data).resolve() == out.resolve():
        raise FolderError(
            "this file is what the command reads, so it is not overwritten",
            file=out,
            remedy="name another file with --out",
        )


def _identity(model_folder: Path, annotator: Annotator[Any]) -> dict[str, Any]:
    # Two fits of the same plan on different machines have one signature, but not one score.
    manifest = model_folder / MANIFEST
    seal = read_json(manifest)["sha256"] if manifest.is_file() else None
    return {**annotator.signature(), "manifest_sha256": seal}


def _labels(consultations: Sequence[Consultation]) -> list[Severity]:
    labels = []
    for number, consultation in enumerate(consultations, start=1):
        if consultation.labelled_severity is None:
            raise DataError(
                f"the complaint with id {consultation.id!r} has no label",
                row=number,
                column=LABEL_COLUMN,
                remedy="give every row a severity that a person chose, or leave the row out",
            )
        labels.append(consultation.labelled_severity)
    return labels
