"""Settings of an annotator of any kind, told apart by their key `kind`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field

from tarjih.errors import ModelError
from tarjih.settings import Settings, load_settings, settings_from_overrides
from tarjih.severity.annotator import annotator_class
from tarjih.severity.cross_fitted import CrossFittedSettings
from tarjih.severity.encoder.settings import EncoderSettings
from tarjih.severity.ensemble import EnsembleSettings
from tarjih.severity.lexical import LexiconSettings
from tarjih.severity.linear import LinearSettings

DEFAULT_KIND = "linear"
_SUFFIXES = (".yaml", ".yml")


class _Kind(Settings):
    model_config = ConfigDict(extra="ignore")
    kind: str = Field(description="which annotator reads the complaints")


def settings_of_kind(value: object) -> object:
    """The settings of the kind that a mapping names; without the key, of `linear`.

    Raises:
        ValueError: when there is no such kind, or (pydantic's) naming each fault.
    """
    if not isinstance(value, Mapping):
        return value
    try:
        chosen = annotator_class(str(value.get("kind", DEFAULT_KIND))).settings_class
    except ModelError as error:
        raise ValueError(f"{error.what}; {error.remedy}") from None
    return chosen.model_validate(value)


AnyAnnotatorSettings = Annotated[
    LinearSettings | LexiconSettings | EncoderSettings | EnsembleSettings,
    BeforeValidator(settings_of_kind),
]


def annotator_name(text: str) -> str:
    """What an annotator is called: its kind, or the name of its settings file."""
    return Path(text).stem if _is_file(text) else text


def annotator_settings(text: str, overrides: Sequence[str] = ()) -> CrossFittedSettings:
    """The settings of a kind, or of a YAML file that names its kind.

    Args:
        text: a kind, which has its defaults, or a file with a line such as `kind: linear`.
        overrides: `key=value` texts, which win.

    Raises:
        SettingsError: naming every fault.
        ModelError: when there is no annotator of that kind.
    """
    if not _is_file(text):
        made = settings_from_overrides(annotator_class(text).settings_class, overrides)
    else:
        named = load_settings(_Kind, Path(text)).kind
        made = load_settings(annotator_class(named).settings_class, Path(text), overrides)
    assert isinstance(made, CrossFittedSettings)  # every kind learns from labels
    return made


def _is_file(text: str) -> bool:
    return Path(text).suffix in _SUFFIXES
