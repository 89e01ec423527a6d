"""LoRA adapters: which layers get one, making and loading them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from safetensors import SafetensorError

from tarjih.errors import ModelError
from tarjih.models.dropout import use_quick_dropout
from tarjih.settings import Settings

ATTENTION_LAYERS: dict[str, list[str]] = {
    "gpt2": ["c_attn", "attn.c_proj"],
    "bloom": ["query_key_value", "self_attention.dense"],
    "lfm2": ["q_proj", "k_proj", "v_proj", "self_attn.out_proj"],
}
_USUAL_ATTENTION_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj"]


class LoraSettings(Settings):
    """Low-rank adapters (LoRA, arXiv 2106.09685)."""

    rank: int = Field(default=16, ge=1, description="rank of each adapter; no unit")
    alpha: int = Field(default=32, gt=0, description="the adapter is scaled by alpha / rank")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="probability, from 0 to 1")
    targets: Literal["all-linear", "attention"] | list[str] = Field(
        default="all-linear",
        description="all-linear: every linear layer but the head; attention: the attention's "
        "projections of the architecture; or a list of layer names",
    )


def add_lora(model: Any, settings: LoraSettings) -> Any:
    """Freeze the model and put trainable adapters on it.

    Returns:
        The PEFT model; its `targeted_module_names` are the layers that got an adapter.

    Raises:
        ModelError: when no layer of the model has one of the wanted names.
    """
    from peft import LoraConfig, get_peft_model

    with _quiet_about_internals():
        try:
            with_adapters = get_peft_model(
                model,
                LoraConfig(
                    r=settings.rank,
                    lora_alpha=settings.alpha,
                    lora_dropout=settings.dropout,
                    target_modules=lora_targets(model, settings),
                    task_type="CAUSAL_LM",
                ),
            )
        except ValueError as error:
            raise ModelError(
                f"LoRA cannot be put on this model: {error}",
                remedy="set lora.targets to all-linear, or to names of its linear layers",
            ) from None
    use_quick_dropout(with_adapters)
    return with_adapters


def lora_targets(model: Any, settings: LoraSettings) -> str | list[str]:
    """The settings' targets as PEFT takes them, chosen by the model's architecture."""
    if settings.targets != "attention":
        return settings.targets
    return ATTENTION_LAYERS.get(str(model.config.model_type), _USUAL_ATTENTION_LAYERS)


def leave_precision_to_autocast(model: Any) -> None:
    """Let float32 adapters be multiplied in the precision of the model they are on.

    PEFT turns every layer's input into float32 for them, and multiplies in float32. Under autocast
    the adapters, which are small, are rounded instead; their updates are not.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False  # type: ignore[attr-defined]  # PEFT asks for it


def load_adapter(model: Any, folder: Path) -> Any:
    """Put a saved adapter on its base model, for inference, in the model's own precision.

    Raises:
        ModelError: when the folder holds no adapter that fits the model.
    """
    from peft import PeftModel

    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            "this run has no adapter (adapter_model.safetensors is not there)",
            file=folder,
            remedy="train it again: the run was not finished or was changed by hand",
        )
    with _quiet_about_internals():
        try:
            return PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False)
        except (ValueError, RuntimeError, OSError, SafetensorError) as error:
            raise ModelError(
                f"the adapter does not fit its base model: {str(error).splitlines()[0]}",
                file=folder,
                remedy="load it with the model it was trained on",
            ) from None


@contextlib.contextmanager
def _quiet_about_internals() -> Iterator[None]:
    with warnings.catch_warnings():
        # GPT-2 keeps its weights transposed. PEFT sees that, does the right thing, and warns of it.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        # PEFT asks Transformers by a name that Transformers is about to drop.
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing. is deprecated")
        yield
