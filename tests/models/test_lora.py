from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tarjih.errors import ModelError
from tarjih.models.load import LoadedModel
from tarjih.models.logits import output_head
from tarjih.models.lora import LoraSettings, add_lora, load_adapter
from tiny_models import ARCHITECTURES, TEXTS, move_adapters

# The names in Transformers' sources, written down by hand.
_USUAL = {f"layers.{layer}.self_attn.{name}_proj" for layer in (0, 1) for name in "qkvo"}
ATTENTION = {
    "gemma3": _USUAL,
    "qwen2": _USUAL,
    "qwen3": _USUAL,
    "gpt2": {f"h.{layer}.attn.{name}" for layer in (0, 1) for name in ("c_attn", "c_proj")},
    "bloom": {
        f"h.{layer}.self_attention.{name}"
        for layer in (0, 1)
        for name in ("query_key_value", "dense")
    },
    "lfm2": {f"layers.1.self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")},
}
LINEAR_LAYERS = {"gemma3": 14, "qwen2": 14, "qwen3": 14, "gpt2": 8, "bloom": 8, "lfm2": 12}

TinyModel = Callable[..., LoadedModel]


def logits(loaded: LoadedModel, model: torch.nn.Module) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        result: torch.Tensor = model(**loaded.tokenizer(TEXTS[0], return_tensors="pt")).logits
    return result


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attention_means_the_attention_of_each_architecture(
    architecture: str, tiny_model: TinyModel
) -> None:
    model = add_lora(tiny_model(architecture).model, LoraSettings(targets="attention", rank=2))
    targeted = {re.sub(r"^(model|transformer)\.", "", n) for n in model.targeted_module_names}
    assert targeted == ATTENTION[architecture]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_linear_means_all_but_the_head(architecture: str, tiny_model: TinyModel) -> None:
    model = add_lora(tiny_model(architecture).model, LoraSettings(rank=2))
    assert len(model.targeted_module_names) == LINEAR_LAYERS[architecture]
    output_head(model)  # still a plain linear layer
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable
    assert all("lora_" in name for name in trainable)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_adapter_comes_back_as_it_was(
    architecture: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    loaded = tiny_model(architecture)
    before = logits(loaded, loaded.model)
    model = add_lora(loaded.model, LoraSettings(rank=2))
    torch.testing.assert_close(logits(loaded, model), before)  # it begins as nothing
    move_adapters(model)
    after = logits(loaded, model)
    assert (after - before).abs().max() > 0.01
    model.save_pretrained(tmp_path)
    restored = load_adapter(tiny_model(architecture).model, tmp_path)
    torch.testing.assert_close(logits(loaded, restored), after, rtol=0, atol=0)


def test_layers_that_are_not_there_are_named(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match="nowhere_proj"):
        add_lora(tiny_model("qwen2").model, LoraSettings(targets=["nowhere_proj"]))


def test_a_folder_without_an_adapter_says_so(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no adapter"):
        load_adapter(tiny_model("qwen2").model, tmp_path)


@pytest.mark.parametrize("damage", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_adapter_is_one_clear_error(
    damage: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    add_lora(tiny_model("qwen2").model, LoraSettings(rank=2)).save_pretrained(tmp_path)
    data = (tmp_path / damage).read_bytes()
    (tmp_path / damage).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="adapter"):
        load_adapter(tiny_model("qwen2").model, tmp_path)


def test_the_adapter_of_another_model_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    add_lora(tiny_model("bloom").model, LoraSettings(rank=2)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="does not fit"):
        load_adapter(tiny_model("qwen2").model, tmp_path)
