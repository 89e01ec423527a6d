from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import pytest
import torch

from tarjih.errors import ModelError
from tarjih.models import load
from tarjih.models.load import (
    LoadedModel,
    ModelSettings,
    load_causal_model,
    load_tokenizer,
    pad_token_id,
)
from tiny_models import ARCHITECTURES, FLOAT32, TinyFolder


@pytest.fixture
def copy_of_model(tiny_folder: TinyFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder("qwen2"), tmp_path / "copy"))


def change_json(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_loads_with_a_plain_head(
    architecture: str, tiny_model: Callable[..., LoadedModel]
) -> None:
    loaded = tiny_model(architecture)
    head = loaded.model.get_output_embeddings()
    assert head.weight.shape == (loaded.model.config.vocab_size, 16)
    assert head.weight.dtype == torch.float32
    assert loaded.device == torch.device("cpu")


def test_the_precision_is_the_one_asked_for(tiny_folder: TinyFolder) -> None:
    settings = ModelSettings(precision="bfloat16", device="cpu")
    loaded = load_causal_model(str(tiny_folder("qwen2")), settings)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_f": True}, torch.float32),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True}, torch.bfloat16),
    ],
)
def test_a_processor_without_bfloat16_keeps_float32(
    capabilities: dict[str, bool],
    dtype: torch.dtype,
    tiny_folder: TinyFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    loaded = load_causal_model(str(tiny_folder("qwen2")), ModelSettings(device="cpu"))
    assert loaded.model.dtype == dtype


def test_a_folder_without_a_tokenizer_says_so(copy_of_model: Path) -> None:
    for file in copy_of_model.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_causal_model(str(copy_of_model), FLOAT32)


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        load_causal_model(str(tmp_path), FLOAT32)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_truncated_file_is_one_clear_error(file: str, copy_of_model: Path) -> None:
    data = (copy_of_model / file).read_bytes()
    (copy_of_model / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_causal_model(str(copy_of_model), FLOAT32)


def test_weights_that_are_not_there_are_not_invented(copy_of_model: Path) -> None:
    (copy_of_model / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="the model cannot be loaded"):
        load_causal_model(str(copy_of_model), FLOAT32)


def test_a_tokenizer_without_an_end_token_is_refused(copy_of_model: Path) -> None:
    change_json(copy_of_model / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ModelError, match="no end-of-sequence token") as caught:
        load_tokenizer(str(copy_of_model), FLOAT32)
    assert caught.value.file == str(copy_of_model)


def test_a_hub_id_without_a_network_says_what_else_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load_causal_model("somebody/some-model", FLOAT32)
    assert "packaged:gemma-3-270m" in caught.value.remedy
    assert "somebody/some-model" in str(caught.value)


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="no usable GPU"):
        load._device(ModelSettings(device="cuda"))


@pytest.mark.parametrize(("pad", "expected"), [(None, 2), (0, 0), (5, 5)])
def test_rows_are_filled_with_padding_or_else_the_end_token(pad: int | None, expected: int) -> None:
    assert pad_token_id(SimpleNamespace(pad_token_id=pad, eos_token_id=2)) == expected


def test_texts_beyond_the_models_context_are_refused_by_both_lengths() -> None:
    model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=100))
    load.check_context(model, 100)
    with pytest.raises(ModelError, match=r"at most 100 tokens, but up to 101"):
        load.check_context(model, 101)
    load.check_context(SimpleNamespace(config=SimpleNamespace()), 10**9)  # ALiBi has no limit
