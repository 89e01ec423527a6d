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
_BOTH = (0, 1)
_USUAL = {f"model.layers.{n}.self_attn.{name}_proj" for n in _BOTH for name in "qkvo"}
_USUAL_REST = {
    f"model.layers.{n}.mlp.{name}_proj" for n in _BOTH for name in ("gate", "up", "down")
}
ATTENTION = {
    "gemma3": _USUAL,
    "qwen2": _USUAL,
    "qwen3": _USUAL,
    "gpt2": {f"transformer.h.{n}.attn.{name}" for n in _BOTH for name in ("c_attn", "c_proj")},
    "bloom": {
        f"transformer.h.{n}.self_attention.{name}"
        for n in _BOTH
        for name in ("query_key_value", "dense")
    },
    "lfm2": {f"model.layers.1.self_attn.{name}_proj" for name in ("q", "k", "v", "out")},
}
REST = {
    "gemma3": _USUAL_REST,
    "qwen2": _USUAL_REST,
    "qwen3": _USUAL_REST,
    "gpt2": {f"transformer.h.{n}.mlp.{name}" for n in _BOTH for name in ("c_fc", "c_proj")},
    "bloom": {
        f"transformer.h.{n}.mlp.{name}"
        for n in _BOTH
        for name in ("dense_h_to_4h", "dense_4h_to_h")
    },
    "lfm2": {
        "model.layers.0.conv.in_proj",
        "model.layers.0.conv.out_proj",
        *(f"model.layers.{n}.feed_forward.w{k}" for n in _BOTH for k in (1, 2, 3)),
    },
}

TinyModel = Callable[..., LoadedModel]


def logits(loaded: LoadedModel, model: torch.nn.Module) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        result: torch.Tensor = model(**loaded.tokenizer(TEXTS[0], return_tensors="pt")).logits
    return result


def adapted(model: torch.nn.Module) -> set[str]:
    """The layers that hold trainable parameters; all of those are adapters."""
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    found = [re.fullmatch(r"base_model\.model\.(.+)\.lora_[AB]\..+", name) for name in trainable]
    assert trainable
    assert all(found), trainable
    return {match[1] for match in found if match}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attention_means_the_attention_of_each_architecture(
    architecture: str, tiny_model: TinyModel
) -> None:
    model = add_lora(tiny_model(architecture).model, LoraSettings(targets="attention", rank=2))
    assert adapted(model) == set(model.targeted_module_names) == ATTENTION[architecture]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_linear_means_all_but_the_head(architecture: str, tiny_model: TinyModel) -> None:
    model = add_lora(tiny_model(architecture).model, LoraSettings(rank=2))
    expected = ATTENTION[architecture] | REST[architecture]
    assert adapted(model) == set(model.targeted_module_names) == expected
    output_head(model)  # still a plain linear layer


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
