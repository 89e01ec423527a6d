"""What all cells of an experiment share: prepared data with severities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tarjih.config import ExperimentConfig
from tarjih.data.prepare import load_split, prepare
from tarjih.data.summary import PrepareSummary
from tarjih.errors import DataError, FolderError
from tarjih.progress import Reporter
from tarjih.records import Consultation
from tarjih.report.cards import DATA_CARD, write_cards
from tarjih.severity.annotate import fit_annotator, score_consultations
from tarjih.severity.annotator import MANIFEST, Annotator, load_annotator, work_beside
from tarjih.severity.answered import AnsweredComplaints
from tarjih.severity.measures import measure
from tarjih.signature import hash_of_consultations

# Remedies name options of `tarjih prepare`; an experiment has keys in their place.
_KEY_OF_OPTION = {
    "--column ": "data.columns.",
    "--encoding ": "data.encoding=",
    "--label ": "data.prepare.labels.",
    "--reject-bad-values": "data.prepare.reject_bad_values=true",
}


@dataclass(frozen=True)
class Inputs:
    """The three splits, and what is to be said about them."""

    train: list[Consultation]
    validation: list[Consultation]
    test: list[Consultation]
    data: dict[str, Any]
    severity: dict[str, Any]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each split as it is used."""
        return {
            "train": hash_of_consultations(self.train),
            "validation": hash_of_consultations(self.validation),
            "test": hash_of_consultations(self.test),
        }


def make_inputs(config: ExperimentConfig, out: Path, reporter: Reporter) -> Inputs:
    """Prepare the data, estimate the severities, and draw the examples.

    What is there from an earlier start of the same experiment is used again.

    Raises:
        DataError: when the data cannot be used, or has no labels to fit an annotator on.
    """
    reporter.note("preparing the consultations")
    summary = _prepare(config, out / "data")
    splits = {name: load_split(out / "data", name) for name in ("train", "validation", "test")}
    reporter.note(
        f"{summary.rows_kept} consultations kept of {summary.rows_read} "
        f"(train {len(splits['train'])}, validation {len(splits['validation'])}, "
        f"test {len(splits['test'])})"
    )
    severity = _annotate(config, splits, out, reporter)
    seed = config.data.prepare.seed
    return Inputs(
        train=_draw(splits["train"], config.data.max_train_examples, seed),
        validation=splits["validation"],
        test=_draw(splits["test"], config.data.max_test_examples, seed),
        data=summary.model_dump(mode="json"),
        severity=severity,
    )


def _prepare(config: ExperimentConfig, folder: Path) -> PrepareSummary:
    try:
        return prepare(
            config.data.sources,
            folder,
            config.data.prepare,
            columns=config.data.columns,
            encoding=config.data.encoding,
        )
    except FolderError:
        raise FolderError(
            "the data of this experiment were prepared from files that have changed since",
            file=folder,
            remedy="choose another folder with --out, or bring back the files as they were",
        ) from None
    except DataError as error:
        remedy = error.remedy
        for option, key in _KEY_OF_OPTION.items():
            remedy = remedy.replace(option, key)
        raise DataError(
            error.what, file=error.file, row=error.row, column=error.column, remedy=remedy
        ) from None


def _annotate(
    config: ExperimentConfig, splits: dict[str, list[Consultation]], out: Path, reporter: Reporter
) -> dict[str, Any]:
    """Set the probabilities of all consultations; say how good the annotator is."""
    if config.severity.source == "data":
        _require_probabilities(splits, config.data.sources)
        return {"source": "probabilities that the data brought"}
    annotator = _annotator(config, splits["train"], out, reporter)
    for name, consultations in splits.items():
        splits[name] = score_consultations(annotator, consultations)
    quality: dict[str, Any] = {"annotator": annotator.signature()}
    if annotator.measures is not None:
        quality["fitted_rows_out_of_fold"] = annotator.measures.model_dump(mode="json")
    labelled = [c for c in splits["test"] if c.labelled_severity is not None]
    if labelled:
        scored = annotator.score(AnsweredComplaints.of(labelled))
        labels = [c.labelled_severity for c in labelled if c.labelled_severity is not None]
        measures = measure(scored.probabilities, labels, out_of_fold_rows=scored.out_of_fold_rows)
        quality["test_rows"] = measures.model_dump(mode="json")
    return quality


def _annotator(
    config: ExperimentConfig, train: Sequence[Consultation], out: Path, reporter: Reporter
) -> Annotator[Any]:
    if config.severity.model is not None:
        return load_annotator(config.severity.model)
    labelled = [c for c in train if c.labelled_severity is not None]
    if not labelled:
        raise DataError(
            "no training row has a severity label, so no annotator can be fitted",
            file=", ".join(config.data.sources),
            remedy="add a labelled source, or set severity.source to model or data",
        )
    folder = out / "severity"
    if (folder / MANIFEST).is_file():
        annotator = load_annotator(folder)
    else:
        reporter.note(f"fitting the severity annotator on {len(labelled)} labelled complaints")
        with work_beside(folder, reporter) as work:
            annotator = fit_annotator(labelled, config.severity.annotator, work)
            annotator.save(folder)
    if not (folder / DATA_CARD).is_file():
        write_cards(annotator, folder, labelled, source=out / "data" / "train.parquet")
    return annotator


def _require_probabilities(splits: dict[str, list[Consultation]], sources: Sequence[str]) -> None:
    for name, consultations in splits.items():
        missing = [c.id for c in consultations if c.probabilities is None]
        if missing:
            raise DataError(
                f"{len(missing)} rows of the {name} split have no severity probabilities, "
                f"{missing[0]} for one",
                file=", ".join(sources),
                remedy="set severity.source to fit or model, or annotate the data first",
            )


def _draw(consultations: list[Consultation], most: int | None, seed: int) -> list[Consultation]:
    """At most so many consultations, drawn at random, in their order."""
    if most is None or most >= len(consultations):
        return consultations
    chosen = np.random.default_rng(seed).permutation(len(consultations))[:most]
    return [consultations[index] for index in sorted(chosen)]
