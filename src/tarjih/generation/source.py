"""What answers: a finished run, or a base model by its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tarjih.data.prompt import PromptSettings
from tarjih.errors import DataError, ModelError
from tarjih.files import read_json, sha256_of_file
from tarjih.models import resolve_model
from tarjih.models.load import LoadedModel, ModelSettings, load_causal_model, output_head
from tarjih.models.lora import load_adapter
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.signature import hash_of_model_folder
from tarjih.training.train import damaged_run


@dataclass(frozen=True)
class AnswerSource:
    """A base model with or without an adapter, and the prompt that goes with it."""

    model: str
    adapter: Path | None
    prompt: PromptSettings
    model_settings: ModelSettings

    def identity(self) -> dict[str, Any]:
        """What decides the answers; part of the fingerprint of an answers file."""
        base = resolve_model(self.model)
        return {
            "model": self.model,
            "model_hash": hash_of_model_folder(base) if isinstance(base, Path) else None,
            "adapter_hash": None
            if self.adapter is None
            else sha256_of_file(self.adapter / "adapter_model.safetensors"),
            "prompt": self.prompt.model_dump(),
            "model_settings": self.model_settings.model_dump(),
        }

    def load(self) -> tuple[LoadedModel, PromptEncoder]:
        """Load the model, in evaluation mode."""
        loaded = load_causal_model(self.model, self.model_settings)
        if self.adapter is not None:
            loaded = replace(loaded, model=load_adapter(loaded.model, self.adapter))
        loaded.model.eval()
        output_head(loaded.model).register_forward_pre_hook(_contiguous)
        return loaded, PromptEncoder(loaded.tokenizer, self.prompt)


def _contiguous(_head: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    # The last position of each prompt is a strided view. torch multiplies such a batch row by row,
    # in bfloat16 with a copy of the whole head for each: gigabytes, and most of the time.
    return tuple(value.contiguous() for value in inputs)


def base_model(
    name: str, prompt: PromptSettings | None = None, settings: ModelSettings | None = None
) -> AnswerSource:
    """An untouched model."""
    return AnswerSource(name, None, prompt or PromptSettings(), settings or ModelSettings())


def finished_run(folder: Path) -> AnswerSource:
    """The model that a training run made.

    Raises:
        DataError: when the folder holds no finished run, or its run.json was damaged.
        ModelError: when its adapter is gone.
    """
    if not (folder / "run.json").is_file():
        raise DataError(
            "this folder holds no finished run (run.json is not there)",
            file=folder,
            remedy="finish it with tarjih train, or name a model such as packaged:gemma-3-270m",
        )
    if not (folder / "adapter" / "adapter_model.safetensors").is_file():
        raise ModelError(
            "the adapter of this run is gone", file=folder / "adapter", remedy="train it again"
        )
    run = read_json(folder / "run.json")
    try:
        return AnswerSource(
            model=str(run["model"]),
            adapter=folder / "adapter",
            prompt=PromptSettings.model_validate(run["prompt"]),
            model_settings=ModelSettings.model_validate(run["model_settings"]),
        )
    except (KeyError, TypeError, ValidationError):
        raise damaged_run(folder) from None


def open_source(run_or_model: str) -> AnswerSource:
    """A run folder or a model name, told apart by what is in the folder."""
    folder = Path(run_or_model)
    if folder.is_dir() and not (folder / "config.json").is_file():
        return finished_run(folder)
    return base_model(run_or_model)
