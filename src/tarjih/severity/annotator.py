"""What every annotator of severity has in common, and the folder it is kept in.

An annotator folder holds `annotator.json` (the manifest: kind, settings, signature, and the SHA-256
of every other file, those of sub-folders too) beside safetensors and JSON files. Nothing in it is
ever unpickled.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tarjih import __version__
from tarjih.errors import DataError, FolderError, ModelError, shorten
from tarjih.files import is_unclaimed, read_json, sha256_of, sha256_of_file, write_json
from tarjih.progress import SILENT, Reporter
from tarjih.records import SEVERITIES, Severity
from tarjih.settings import Settings
from tarjih.severity.calibration import Floats
from tarjih.severity.measures import SeverityMeasures

MANIFEST = "annotator.json"
WORK_MARK = "work.json"
BUILTIN_LEXICON = "builtin:lexicon"

# Where each kind lives: named, not imported, so that a kind that needs torch costs others nothing.
ANNOTATOR_CLASSES: dict[str, tuple[str, str]] = {
    "lexicon": ("tarjih.severity.lexical", "LexiconAnnotator"),
    "linear": ("tarjih.severity.linear", "LinearAnnotator"),
    "encoder": ("tarjih.severity.encoder.annotator", "EncoderAnnotator"),
    "ensemble": ("tarjih.severity.ensemble", "EnsembleAnnotator"),
}


class AnnotatorSettings(Settings):
    """The base of every annotator's settings."""

    kind: str = Field(description="which annotator reads the complaints")

    @property
    def learns_from_responses(self) -> bool:
        """Whether it is fitted on complaints with their responses (`AnsweredComplaints`)."""
        return self.reads_responses

    @property
    def reads_responses(self) -> bool:
        """Whether it can only score complaints with their responses (`AnsweredComplaints`)."""
        return False


SettingsT = TypeVar("SettingsT", bound=AnnotatorSettings)


@dataclass(frozen=True, slots=True)
class Work:
    """Where a long fit keeps its finished parts, and who is told how far it is.

    Attributes:
        folder: of this fit alone; None keeps nothing, so an interrupted fit starts again.
        reporter: of stages and notes.
        shared: of all fits of whole annotators, so that one that was fitted by itself is not
            fitted again as a member of an ensemble; None keeps them in `folder`.
    """

    folder: Path | None = None
    reporter: Reporter = SILENT
    shared: Path | None = None

    def part(self, name: str) -> Work:
        """The work of one part, in a folder of its own."""
        return replace(self, folder=None if self.folder is None else self.folder / name)

    def of_plan(self, plan: Mapping[str, Any]) -> Work:
        """The work of a whole annotator, named by everything that decides what is fitted.

        Parts of other rows or settings are never taken for these.
        """
        place = self.shared or self.folder
        return replace(self, folder=None if place is None else place / sha256_of(plan)[:16])


NO_WORK = Work()


@contextmanager
def work_beside(folder: Path, reporter: Reporter = SILENT) -> Iterator[Work]:
    """Work in `FOLDER.work`, which goes when the block succeeds and else keeps what is finished.

    Raises:
        FolderError: when something else is at that place.
    """
    resolved = folder.resolve()
    place = resolved.with_name(f"{resolved.name}.work")
    if not (place / WORK_MARK).is_file():
        if not is_unclaimed(place, WORK_MARK):
            raise FolderError(
                "the finished parts of the fit would be kept here, but this is something else",
                file=place,
                remedy="name another folder with --out, or move this one away",
            )
        write_json(place / WORK_MARK, {"format": "tarjih.work/1"})
    try:
        yield Work(place, reporter)
    except BaseException:
        if all(path.name == WORK_MARK for path in place.iterdir()):
            shutil.rmtree(place)  # nothing is finished
        raise
    shutil.rmtree(place)


@dataclass(frozen=True, slots=True)
class ScoredComplaints:
    """Calibrated probabilities of complaints.

    Attributes:
        probabilities: (n, 3) float64, rows summing to 1, in the order of `records.SEVERITIES`.
        out_of_fold: (n,) for each complaint, whether the annotator was fitted on it or on a
            near-duplicate, and the probabilities come from a model that was not.
    """

    probabilities: Floats
    out_of_fold: tuple[bool, ...]

    @property
    def out_of_fold_rows(self) -> int:
        """How many complaints were scored out of fold."""
        return sum(self.out_of_fold)


class Annotator(ABC, Generic[SettingsT]):
    """Reads a complaint and estimates how severe it is."""

    kind: ClassVar[str]
    settings_class: ClassVar[type[AnnotatorSettings]]

    @property
    def reads_responses(self) -> bool:
        """Whether it can only score complaints with their responses (`AnsweredComplaints`)."""
        return False

    @classmethod
    @abstractmethod
    def fit(
        cls,
        complaints: Sequence[str],
        labels: Sequence[Severity],
        settings: SettingsT,
        work: Work = NO_WORK,
    ) -> Self:
        """Learn from people's labels; the same rows, settings and seed give the same annotator.

        Args:
            complaints: n texts; `AnsweredComplaints` where the settings learn from responses.
            labels: their n severities.
            settings: of this kind.
            work: where finished parts are kept for a start after an interruption, and who is told.

        Raises:
            DataError: when the rows cannot be learned from.
        """

    @abstractmethod
    def score(self, complaints: Sequence[str], *, out_of_fold: bool = True) -> ScoredComplaints:
        """Calibrated probabilities of each complaint.

        Args:
            complaints: n texts; every text is accepted, the empty one too. `AnsweredComplaints`
                where the annotator reads responses.
            out_of_fold: give complaints that the annotator was fitted on, and their
                near-duplicates, the probabilities of a model that did not see them. In-sample
                probabilities are far too sure of the label, and a generator weighted with them
                would be weighted by the noise of the labels.

        Raises:
            DataError: when the annotator reads responses and a complaint has none.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the annotator's folder, atomically.

        Raises:
            FolderError: when the folder holds something other than an annotator.
        """

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; it scores bit for bit as before.

        Raises:
            ModelError: when the folder is not an annotator of this kind, or is damaged.
        """

    @abstractmethod
    def signature(self) -> dict[str, Any]:
        """What the scores depend on, as JSON: kind, settings, data, seed, versions."""

    @property
    @abstractmethod
    def measures(self) -> SeverityMeasures | None:
        """Out-of-fold agreement with the labels it was fitted on, where there is one."""


class Manifest(BaseModel):
    """What `annotator.json` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["tarjih.annotator/2"] = "tarjih.annotator/2"
    kind: str
    severities: tuple[Severity, ...] = SEVERITIES
    settings: dict[str, Any]
    signature: dict[str, Any]
    measures: SeverityMeasures | None = None
    tarjih: str = __version__
    files: dict[str, str] = Field(
        description="SHA-256 of every other file, by its path within the folder, with slashes"
    )
    sha256: str = Field("", description="of all the fields above, in canonical JSON")

    def digest(self) -> str:
        """The SHA-256 that `sha256` must hold."""
        return sha256_of(self.model_dump(mode="json", exclude={"sha256"}))


def annotator_class(kind: str) -> type[Annotator[Any]]:
    """The class of a kind of annotator.

    Raises:
        ModelError: when there is no such kind.
    """
    if kind not in ANNOTATOR_CLASSES:
        raise ModelError(
            f"there is no annotator of kind {kind!r}",
            remedy=f"choose one of: {', '.join(ANNOTATOR_CLASSES)}",
        )
    module, name = ANNOTATOR_CLASSES[kind]
    found: type[Annotator[Any]] = getattr(import_module(module), name)
    return found


def load_annotator(folder: Path) -> Annotator[Any]:
    """Read an annotator of any kind from its folder, or take `builtin:lexicon`.

    Raises:
        ModelError: when the folder is not an annotator, or is damaged.
    """
    if str(folder) == BUILTIN_LEXICON:
        from tarjih.severity.lexical import LexiconAnnotator

        return LexiconAnnotator.without_labels()
    return annotator_class(read_manifest(folder).kind).load(folder)


def check_annotator_folder(folder: Path) -> None:
    """Refuse to write an annotator over something that is none.

    Raises:
        FolderError: when `folder` is a file, or a folder with anything else in it.
    """
    if not folder.exists() or (folder / MANIFEST).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise FolderError(
            "this exists and is not an annotator, so it will not be replaced",
            file=folder,
            remedy="name a new folder, or remove this one yourself",
        )


def write_manifest(
    folder: Path,
    *,
    settings: AnnotatorSettings,
    signature: dict[str, Any],
    measures: SeverityMeasures | None,
) -> None:
    """Write `annotator.json` as the last file of a folder, over all that is below it."""
    manifest = Manifest(
        kind=settings.kind,
        settings=settings.model_dump(mode="json"),
        signature=signature,
        measures=measures,
        files={
            file.relative_to(folder).as_posix(): sha256_of_file(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    )
    sealed = manifest.model_copy(update={"sha256": manifest.digest()})
    write_json(folder / MANIFEST, sealed.model_dump(mode="json"))


def read_manifest(folder: Path, kind: str | None = None) -> Manifest:
    """Read `annotator.json` and check every file that it names.

    Args:
        folder: an annotator's folder.
        kind: the kind it must be of; None takes any.

    Raises:
        ModelError: when the folder is not an annotator (of this kind), or a file is missing,
            differs from what was written, or is not within the folder.
    """
    if not (folder / MANIFEST).is_file():
        raise ModelError(
            f"there is no {MANIFEST} here, so this is not an annotator",
            file=folder,
            remedy="name the folder of a fitted annotator",
        )
    try:
        manifest = Manifest.model_validate(read_json(folder / MANIFEST))
    except DataError as error:
        raise damaged(folder / MANIFEST, error.what) from None
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise damaged(folder / MANIFEST, f"{place}: {fault['msg']}") from None
    if manifest.sha256 != manifest.digest():
        raise damaged(folder / MANIFEST, "the file is not the one that was written")
    if manifest.severities != SEVERITIES:
        raise damaged(folder / MANIFEST, "its severities are not the three of this version")
    if kind not in (None, manifest.kind):
        raise ModelError(
            f"this annotator is of kind {manifest.kind!r}, not {kind!r}",
            file=folder,
            remedy="name another folder, or load it as what it is",
        )
    for name, digest in manifest.files.items():
        file = _within(folder, name)
        if not file.is_file():
            raise damaged(file, "the file is missing")
        if sha256_of_file(file) != digest:
            raise damaged(file, "the file is not the one that was written")
    return manifest


def _within(folder: Path, name: str) -> Path:
    # A manifest may come from anybody: it must not make anything outside its folder be read.
    path = PurePosixPath(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts and "\\" not in name
    file = folder.joinpath(*path.parts)
    if not inside or not file.resolve().is_relative_to(folder.resolve()):
        raise damaged(folder / MANIFEST, f"it names {shorten(name)}, which is not in its folder")
    return file


def damaged(file: Path, what: str) -> ModelError:
    """The error for an annotator whose file cannot be used."""
    return ModelError(
        f"this annotator is damaged or of another version: {what}",
        file=file,
        remedy="fit the annotator again, or copy its whole folder once more",
    )
