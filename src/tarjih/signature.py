"""What a result was made with: versions, and hashes of models and data."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from tarjih.files import sha256_of, sha256_of_file
from tarjih.records import Consultation

_PACKAGES = ("tarjih", "torch", "transformers", "peft", "accelerate", "tokenizers", "numpy")
_HASHED_SUFFIXES = {".json", ".txt", ".model"}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def hash_of_consultations(consultations: Sequence[Consultation]) -> str:
    """SHA-256 over everything in the consultations, in their order."""
    return sha256_of([asdict(consultation) for consultation in consultations])


def hash_of_model_folder(folder: Path) -> str:
    """SHA-256 over a model folder's settings and tokenizer, and the names and sizes of its weights.

    Weights are not read: they can be many gigabytes, and a run asks this at each start.
    """
    parts = []
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        small = file.suffix in _HASHED_SUFFIXES
        parts.append([file.name, sha256_of_file(file) if small else str(file.stat().st_size)])
    return sha256_of(parts)
