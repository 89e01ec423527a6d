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
from tarjih.models.load import LoadedModel, ModelSettings, load_causal_model
from tarjih.models.logits import output_head
from tarjih.models.lora import load_adapter
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.signature import hash_of_model_folder
from tarjih.training.run_folder import ADAPTER, MODEL, RECORD, damaged_run


@dataclass(frozen=True)
class AnswerSource:
    """A base model with or without an adapter, and the prompt that goes with it."""

    model: str
    adapter: Path | None
    prompt: PromptSettings
    model_settings: ModelSettings
    four_bit: bool = False

    def identity(self) -> dict[str, Any]:
        """What decides the answers; part of the fingerprint of an answers file."""
        base = resolve_model(self.model)
        trained = self.adapter
        if trained is None and (Path(self.model).parent / RECORD).is_file():
            trained = Path(self.model)
        weights = [] if trained is None else sorted(trained.glob("*.safetensors"))
        return {
            "model": self.model,
            "model_hash": hash_of_model_folder(base) if isinstance(base, Path) else None,
            "trained_hash": [sha256_of_file(file) for file in weights],
            "prompt": self.prompt.model_dump(),
            "model_settings": self.model_settings.model_dump(),
            "four_bit": self.four_bit,
        }

    def load(self) -> tuple[LoadedModel, PromptEncoder]:
        """Load the model, in evaluation mode."""
        loaded = load_causal_model(self.model, self.model_settings, four_bit=self.four_bit)
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
        ModelError: when its adapter or model is gone.
    """
    if not (folder / RECORD).is_file():
        raise DataError(
            f"this folder holds no finished run ({RECORD} is not there)",
            file=folder,
            remedy="finish it with tarjih train, or name a model such as packaged:gemma-3-270m",
        )
    run = read_json(folder / RECORD)
    try:
        method = run["training_settings"]["method"]
        source = AnswerSource(
            model=str(folder / MODEL) if method == "full" else str(run["model"]),
            adapter=None if method == "full" else folder / ADAPTER,
            prompt=PromptSettings.model_validate(run["prompt"]),
            model_settings=ModelSettings.model_validate(run["model_settings"]),
            four_bit=method == "qlora",
        )
    except (KeyError, TypeError, ValidationError):
        raise damaged_run(folder) from None
    result = source.adapter or Path(source.model)
    if not any(result.glob("*.safetensors")):
        raise ModelError(
            f"the {'adapter' if source.adapter else 'model'} of this run is gone",
            file=result,
            remedy="train it again",
        )
    return source


def open_source(run_or_model: str) -> AnswerSource:
    """A run folder or a model name, told apart by what is in the folder."""
    folder = Path(run_or_model)
    if folder.is_dir() and not (folder / "config.json").is_file():
        return finished_run(folder)
    return base_model(run_or_model)
