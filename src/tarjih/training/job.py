"""What a training run is: everything that decides its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tarjih.data.prompt import PromptSettings
from tarjih.models import resolve_model
from tarjih.models.load import ModelSettings
from tarjih.records import Consultation
from tarjih.signature import hash_of_consultations, hash_of_model_folder
from tarjih.training.settings import TrainingSettings
from tarjih.weighting import Weighting

FORMAT = "tarjih.run/2"


@dataclass(frozen=True)
class TrainingJob:
    """Everything that decides the outcome of a training run."""

    model: str
    train: Sequence[Consultation]
    validation: Sequence[Consultation]
    weighting: Weighting
    seed: int
    prompt: PromptSettings
    model_settings: ModelSettings
    training: TrainingSettings

    def plan(self) -> dict[str, Any]:
        """What `plan.json` holds; two jobs with the same plan give the same run."""
        source = resolve_model(self.model)
        return {
            "format": FORMAT,
            "model": self.model,
            "model_hash": hash_of_model_folder(source) if isinstance(source, Path) else None,
            "train_hash": hash_of_consultations(self.train),
            "validation_hash": hash_of_consultations(self.validation),
            "weighting": self.weighting.model_dump(),
            "seed": self.seed,
            "prompt": self.prompt.model_dump(),
            "model_settings": self.model_settings.model_dump(),
            "training": self.training.model_dump(),
        }
