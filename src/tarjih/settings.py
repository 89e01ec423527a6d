"""The base of all settings: strict, documented, and with all faults reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tarjih.errors import SettingsError


class Settings(BaseModel):
    """Settings refuse unknown keys, cannot change once made, and document every field."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML libraries take the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


S = TypeVar("S", bound=Settings)


def load_settings(kind: type[S], file: Path, overrides: Sequence[str] = ()) -> S:
    """Read YAML, apply `key=value` overrides, and check everything.

    Args:
        kind: the settings to make.
        file: a YAML file.
        overrides: such as ``training.learning_rate=1e-4``; values are read as YAML.

    Raises:
        SettingsError: naming every fault at once.
    """
    try:
        raw = _Loader(file.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise SettingsError(
            "there is no such settings file", file=file, remedy="check the path"
        ) from None
    except IsADirectoryError:
        raise SettingsError(
            "this is a folder, not a settings file", file=file, remedy="name a YAML file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"this is not valid YAML: {error}", file=file, remedy="mend the file where it says"
        ) from None
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise SettingsError(
            f"settings are `key: value` lines, but this file holds a {type(raw).__name__}",
            file=file,
            remedy="start from one of the files in configs/",
        )
    for override in overrides:
        _apply_override(raw, override)
    return make_settings(kind, raw, file)


def settings_from_overrides(kind: type[S], overrides: Sequence[str]) -> S:
    """Settings from `key=value` texts alone.

    Raises:
        SettingsError: naming every fault at once.
    """
    raw: dict[str, Any] = {}
    for override in overrides:
        _apply_override(raw, override)
    return make_settings(kind, raw)


def make_settings(kind: type[S], raw: Mapping[str, Any], file: Path | None = None) -> S:
    """Check a mapping against the settings.

    Raises:
        SettingsError: naming every fault at once.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        faults = [f"  - {_explain(kind, dict(fault))}" for fault in error.errors()]
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise SettingsError(
            f"{count} in the settings\n" + "\n".join(faults),
            file=file,
            remedy="correct the lines above; `tarjih settings` lists every key with its meaning",
        ) from None


def _apply_override(raw: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise SettingsError(
            f"the override {override!r} is not of the form key=value",
            remedy="write for example training.learning_rate=1e-4",
        )
    place = raw
    for part in parts[:-1]:
        child = place.setdefault(part, {})
        if not isinstance(child, dict):
            raise SettingsError(
                f"the override {override!r} looks for keys below {part!r}, which is a value",
                remedy="`tarjih settings` lists every key",
            )
        place = child
    try:
        place[parts[-1]] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SettingsError(
            f"the value of the override {override!r} cannot be read",
            remedy="put quotes around it",
        ) from None


def _explain(kind: type[BaseModel], fault: dict[str, Any]) -> str:
    # Pydantic marks in the location that a mapping's key is at fault; that part is no key of ours.
    keys = [str(part) for part in fault["loc"] if part != "[key]"]
    name = ".".join(keys)
    if fault["type"] == "extra_forbidden":
        return f"{name}: there is no such key{_suggestion(kind, keys)}"
    if fault["type"] == "missing":
        return f"{name}: this key is required"
    given = fault.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool | None) else ""
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{name or 'settings'}: {message[0].lower()}{message[1:]}{shown}"


def _suggestion(kind: type[BaseModel], keys: Sequence[str]) -> str:
    owners: list[type[BaseModel]] = [kind]
    for key in keys[:-1]:
        fields = [owner.model_fields[key] for owner in owners if key in owner.model_fields]
        owners = [inner for field in fields for inner in _models_in(field.annotation)] or owners
    known = list(dict.fromkeys(name for owner in owners for name in owner.model_fields))
    near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def describe_settings(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key with its default and its meaning, as (key, default, description)."""
    for name, field in kind.model_fields.items():
        key = f"{prefix}{name}"
        default = (
            "required" if field.is_required() else field.get_default(call_default_factory=True)
        )
        inner = next(_models_in(field.annotation), None)
        shown = "" if isinstance(default, BaseModel) else str(_as_lists(default))
        yield key, shown, field.description or ""
        if inner is not None:
            yield from describe_settings(inner, f"{key}.")


def _as_lists(value: Any) -> Any:
    """Tuples as lists, which a settings file has."""
    return [_as_lists(one) for one in value] if isinstance(value, tuple | list) else value
