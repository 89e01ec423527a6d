"""The lexicon's data files, checked: signs with their forms and sources, cues, parts.

`docs/severity-lexicon.md` explains an entry field by field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from tarjih.errors import DataError
from tarjih.files import read_json
from tarjih.records import Severity

SIGN_FILES = ("critical.json", "neutral.json", "non_critical.json")
CONTEXT_FILE = "context.json"
PARTS_FILE = "parts.json"
BUNDLED = Path(__file__).with_name("data")

Dialects = Mapping[str, Sequence[str]]  # dialect -> forms
_REMEDY = "mend the entry, or install the package again; docs/severity-lexicon.md explains the data"


class Dialect(StrEnum):
    """Where a form is said; one that is the same everywhere stands under `msa`."""

    MSA = "msa"
    EGYPTIAN = "egyptian"
    LEVANTINE = "levantine"
    GULF = "gulf"
    MAGHREBI = "maghrebi"


class Category(StrEnum):
    """What a sign is about."""

    HEART_AND_VESSELS = "heart_and_vessels"
    BREATHING = "breathing"
    BRAIN_AND_NERVES = "brain_and_nerves"
    BLEEDING = "bleeding"
    DIGESTION = "digestion"
    URINE_AND_KIDNEYS = "urine_and_kidneys"
    PREGNANCY_AND_BIRTH = "pregnancy_and_birth"
    SEXUAL_HEALTH = "sexual_health"
    CHILDREN = "children"
    INFECTION_AND_FEVER = "infection_and_fever"
    ALLERGY = "allergy"
    POISONING = "poisoning"
    INJURY = "injury"
    EYE = "eye"
    EAR_NOSE_THROAT = "ear_nose_throat"
    MOUTH_AND_TEETH = "mouth_and_teeth"
    SKIN_AND_HAIR = "skin_and_hair"
    HORMONES_AND_METABOLISM = "hormones_and_metabolism"
    BONES_AND_JOINTS = "bones_and_joints"
    MIND = "mind"
    VIOLENCE = "violence"
    MEDICINES_AND_TESTS = "medicines_and_tests"
    GENERAL = "general"


@dataclass(frozen=True, slots=True)
class Sign:
    """An entry of the lexicon.

    Attributes:
        source: title and address of the guidance it is from.
        forms: dialect -> forms, each of which is the sign.
        together: sets of parts, each of which is the sign where all of it is in a complaint.
    """

    id: str
    severity: Severity
    english: str
    source: tuple[str, str]
    forms: Mapping[str, tuple[str, ...]]
    together: tuple[tuple[str, ...], ...] = ()
    category: Category = Category.GENERAL


@dataclass(frozen=True, slots=True)
class Entries:
    """All data of a lexicon.

    Attributes:
        signs: of all severities.
        context: cue kind -> dialect -> forms.
        parts: part -> dialect -> forms.
        file_of: entry (a sign, a kind of cue, a part) -> the file that it stands in.
    """

    signs: tuple[Sign, ...]
    context: Mapping[str, Dialects]
    parts: Mapping[str, Dialects]
    file_of: Mapping[str, Path]


Text = Annotated[str, Field(min_length=1)]
_Forms = dict[Dialect, tuple[Text, ...]]
_Named = RootModel[dict[Text, _Forms]]
_FileT = TypeVar("_FileT", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Source(_Strict):
    title: Text
    url: str = Field(pattern="^https://")


class _Sign(_Strict):
    id: Text
    severity: Severity
    category: Category
    english: Text
    source: str
    forms: _Forms
    together: tuple[Annotated[tuple[str, ...], Field(min_length=2)], ...] = ()


class _SignFile(_Strict):
    signs: tuple[_Sign, ...]
    sources: dict[str, _Source]


def read_entries(folder: Path = BUNDLED) -> Entries:
    """Read the data files of a folder.

    Raises:
        DataError: when one is absent or damaged, or an entry is malformed, naming file and entry.
    """
    signs: list[Sign] = []
    file_of: dict[str, Path] = {}
    for name in SIGN_FILES:
        for sign in _read_signs(folder / name):
            if sign.id in file_of:
                there = file_of[sign.id].name
                raise faulty(folder / name, sign.id, f"{there} has one of the same id")
            file_of[sign.id] = folder / name
            signs.append(sign)
    context = _read_named(folder / CONTEXT_FILE)
    parts = _read_named(folder / PARTS_FILE)
    for name, entries in ((CONTEXT_FILE, context), (PARTS_FILE, parts)):
        for entry in entries:
            if entry in file_of:
                raise faulty(folder / name, entry, f"{file_of[entry].name} has one of the same id")
            file_of[entry] = folder / name
    return Entries(tuple(signs), context, parts, file_of)


def faulty(file: Path, entry: str, what: str) -> DataError:
    """The error for an entry that cannot be used."""
    return DataError(f"the entry {entry!r} cannot be used: {what}", file=file, remedy=_REMEDY)


def _read_signs(file: Path) -> list[Sign]:
    data = _checked(_SignFile, file)
    signs = []
    for one in data.signs:
        if one.source not in data.sources:
            raise faulty(file, one.id, f"no source of the file is named {one.source!r}")
        source = data.sources[one.source]
        signs.append(
            Sign(
                id=one.id,
                severity=one.severity,
                english=one.english,
                source=(source.title, source.url),
                forms={str(dialect): forms for dialect, forms in one.forms.items()},
                together=one.together,
                category=one.category,
            )
        )
    return signs


def _read_named(file: Path) -> dict[str, Dialects]:
    named = _checked(_Named, file).root
    return {
        name: {str(dialect): forms for dialect, forms in dialects.items()}
        for name, dialects in named.items()
    }


def _checked(kind: type[_FileT], file: Path) -> _FileT:
    raw = read_json(file)
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        fault = error.errors()[0]
        entry, place = _place(raw, fault["loc"])
        what = f"{place}: {fault['msg']}" if place else fault["msg"]
        raise faulty(file, entry, what) from None


def _place(raw: Any, path: tuple[int | str, ...]) -> tuple[str, str]:
    """The entry that a path of keys leads into, by the id it has if any, and the way within it."""
    if path[:1] == ("signs",) and len(path) > 1 and isinstance(path[1], int):
        sign = raw["signs"][path[1]]
        name = sign.get("id") if isinstance(sign, dict) else None
        entry, rest = name or f"signs, number {path[1] + 1}", path[2:]
    elif path[:1] == ("sources",) and len(path) > 1:
        entry, rest = f"sources, {path[1]}", path[2:]
    else:
        entry, rest = str(path[0]) if path else "of the whole file", path[1:]
    return entry, ".".join(map(str, rest))
