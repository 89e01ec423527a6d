"""Loading a causal language model and its tokenizer, with errors that a person can act on."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError

from tarjih.errors import ModelError
from tarjih.models.logits import check_logits
from tarjih.models.packaged import resolve_model
from tarjih.settings import Settings

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


def load_causal_model(
    name: str,
    settings: ModelSettings,
    *,
    weights_in_float32: bool = False,
    four_bit: bool = False,
) -> LoadedModel:
    """Load a causal language model by name (see `resolve_model`).

    Args:
        name: of the model.
        settings: precision, device, and whether foreign code may run.
        weights_in_float32: keep float32 weights where `settings.precision` is auto, for training
            them.
        four_bit: quantise the weights to 4 bits (NF4, QLoRA, arXiv 2305.14314).

    Raises:
        ModelError: when the model or its tokenizer is absent or unusable, when the model changes
            its logits after the head in a way that the loss does not know, or when 4 bits are
            wanted and there is no CUDA GPU or no bitsandbytes.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(name, settings)
    device = _device(settings)
    precision = _precision(settings, device)
    if weights_in_float32 and settings.precision == "auto":
        precision = torch.float32
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            resolve_model(name),
            dtype=precision,
            trust_remote_code=settings.trust_remote_code,
            **(four_bit_options(device, precision) if four_bit else {}),
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _cannot_load("model", name, error) from None
    if not four_bit:  # those are on the GPU already
        model = model.to(device)
    check_logits(model)
    return LoadedModel(name=name, model=model, tokenizer=tokenizer)


def four_bit_options(device: torch.device, precision: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` needs for 4-bit weights on a GPU.

    Raises:
        ModelError: when there is no CUDA GPU, or bitsandbytes is not installed.
    """
    from transformers import BitsAndBytesConfig

    if device.type != "cuda":
        raise ModelError(
            "training.method: qlora needs a CUDA GPU", remedy="set training.method to lora"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            "training.method: qlora needs bitsandbytes, which is not installed",
            remedy="pip install 'tarjih[qlora]'",
        )
    quantization = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=precision,
    )
    return {"quantization_config": quantization, "device_map": {"": device}}


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


def read_config(name: str, settings: ModelSettings) -> Any:
    """A model's configuration, without the model.

    Raises:
        ModelError: when there is none that Transformers knows.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(
            resolve_model(name), trust_remote_code=settings.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_load("configuration", name, error) from None


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
