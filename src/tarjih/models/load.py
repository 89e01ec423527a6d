"""Loading a causal language model and its tokenizer, with errors that a person can act on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import nn

from tarjih.errors import ModelError
from tarjih.models.packaged import resolve_model
from tarjih.settings import Settings

# Settings by which an architecture changes its logits after the head; each must be neutral.
_LOGIT_CHANGES: dict[str, float | None] = {
    "final_logit_softcapping": None,
    "logits_scaling": 1.0,
    "logit_scale": 1.0,
    "lm_head_multiplier": 1.0,
}
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class ModelSettings(Settings):
    """How a model is loaded."""

    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="number format of the model; auto: bfloat16 where the GPU or CPU has it, else "
        "float32",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="where the model runs; auto: a GPU where there is one"
    )
    trust_remote_code: bool = Field(
        default=False,
        description="run Python code that the model's author put beside the weights; leave it off "
        "unless you have read that code",
    )


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model, its tokenizer, and the name the user gave it."""

    name: str
    model: Any
    tokenizer: Any

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return torch.device(self.model.device)


def load_causal_model(name: str, settings: ModelSettings) -> LoadedModel:
    """Load a causal language model by name (see `resolve_model`).

    Raises:
        ModelError: when the model or its tokenizer is absent or unusable, or when the model
            changes its logits after the head in a way that the loss does not know.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(name, settings)
    device = _device(settings)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            resolve_model(name),
            dtype=_precision(settings, device),
            trust_remote_code=settings.trust_remote_code,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _cannot_load("model", name, error) from None
    refuse_unknown_logits(model)
    return LoadedModel(name=name, model=model.to(device), tokenizer=tokenizer)


def load_tokenizer(name: str, settings: ModelSettings) -> Any:
    """Load a tokenizer that knows how an answer ends.

    Raises:
        ModelError: when there is none, or it has no end-of-sequence token.
    """
    from transformers import AutoTokenizer

    path = resolve_model(name)
    if isinstance(path, Path) and not (path / "config.json").is_file():
        raise ModelError(
            "this folder holds no model (config.json is not there)",
            file=path,
            remedy="name the folder that save_pretrained wrote",
        )
    if (
        isinstance(path, Path)
        and not any(path.glob("tokenizer*"))
        and not any(path.glob("*.model"))
        and not (path / "vocab.json").is_file()
    ):
        raise ModelError(
            "this model folder has no tokenizer",
            file=path,
            remedy="copy tokenizer.json and tokenizer_config.json of the same model into it",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, trust_remote_code=settings.trust_remote_code
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise _cannot_load("tokenizer", name, error) from None
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no end-of-sequence token, so a model could never learn to stop",
            file=name,
            remedy="set eos_token in its tokenizer_config.json",
        )
    return tokenizer


def refuse_unknown_logits(model: Any) -> None:
    """Refuse a model whose logits are not just hidden state times head.

    Raises:
        ModelError: naming the setting; the loss would silently differ from the model's own.
    """
    config = model.config
    for key, neutral in _LOGIT_CHANGES.items():
        value = getattr(config, key, neutral)
        if value not in (None, neutral):
            raise ModelError(
                f"{type(model).__name__} changes its logits after the head ({key} = {value})",
                remedy="this version of tarjih does not support that; choose another model",
            )


def check_context(model: Any, tokens: int) -> None:
    """Refuse texts that are longer than what the model can read.

    Raises:
        ModelError: naming both lengths. Without it a GPT-2 would fail at some later batch.
    """
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and tokens > longest:
        raise ModelError(
            f"{type(model).__name__} reads at most {longest} tokens, but up to {tokens} are wanted",
            remedy="lower max_tokens, or max_prompt_tokens and max_new_tokens",
        )


def output_head(model: Any) -> nn.Linear:
    """The layer that turns hidden states into logits.

    Raises:
        ModelError: when it is not a plain linear layer (for example when LoRA was put on it).
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ModelError(
            f"the output head is a {type(head).__name__}, not a plain linear layer",
            remedy="leave the head out of the LoRA targets",
        )
    return head


def pad_token_id(tokenizer: Any) -> int:
    """What to fill short rows with.

    Masks are made from lengths, never from token ids, so the end token will do where there is no
    padding token.
    """
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    return int(eos if pad is None else pad)


def chosen_hardware(settings: ModelSettings) -> dict[str, str]:
    """What `auto` comes to on this machine: the device and the number format, for signatures.

    Raises:
        ModelError: when a GPU is asked for and there is none.
    """
    device = _device(settings)
    precision = _precision(settings, device)
    return {"device": device.type, "precision": str(precision).removeprefix("torch.")}


def _device(settings: ModelSettings) -> torch.device:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("there is no usable GPU here", remedy="set device: auto or device: cpu")
    chosen = settings.device
    if chosen == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(chosen)


def _precision(settings: ModelSettings, device: torch.device) -> torch.dtype:
    if settings.precision != "auto":
        return _PRECISIONS[settings.precision]
    if device.type == "cuda":
        fits = torch.cuda.is_bf16_supported()
    else:
        # Only where the processor multiplies bfloat16 itself; elsewhere it is slower than float32.
        capabilities = torch.cpu.get_capabilities()
        fits = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if fits else torch.float32


def _cannot_load(what: str, name: str, error: Exception) -> ModelError:
    lines = str(error).strip().splitlines()
    return ModelError(
        f"the {what} cannot be loaded: {lines[0] if lines else type(error).__name__}",
        file=name,
        remedy="check the name; without a network use packaged:gemma-3-270m or a local folder",
    )
