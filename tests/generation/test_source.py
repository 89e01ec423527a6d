from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tarjih.data.prompt import PromptSettings
from tarjih.errors import DataError, ModelError
from tarjih.generation.source import AnswerSource, base_model, finished_run, open_source
from tarjih.models.load import LoadedModel
from tarjih.models.lora import LoraSettings, add_lora
from tiny_models import FLOAT32, TEXTS, TinyFolder, move_adapters

TEMPLATE = "{complaint} ->"


@pytest.fixture
def run_folder(
    tiny_folder: TinyFolder, tiny_model: Callable[..., LoadedModel], tmp_path: Path
) -> Path:
    """What training leaves, as far as answering needs it."""
    model = add_lora(tiny_model("qwen2").model, LoraSettings(rank=2))
    move_adapters(model)
    model.save_pretrained(tmp_path / "run" / "adapter")
    record = {
        "model": str(tiny_folder("qwen2")),
        "prompt": {"template": TEMPLATE},
        "model_settings": FLOAT32.model_dump(),
        "training_settings": {"method": "lora"},
    }
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    return tmp_path / "run"


def test_a_run_and_a_model_are_told_apart_by_what_is_there(
    run_folder: Path, tiny_folder: TinyFolder
) -> None:
    run = open_source(str(run_folder))
    assert run.adapter == run_folder / "adapter"
    assert run.prompt == PromptSettings(template=TEMPLATE)
    assert run.model_settings == FLOAT32
    model = open_source(str(tiny_folder("qwen2")))
    assert model == base_model(str(tiny_folder("qwen2")))
    assert model.adapter is None
    assert open_source("owner/name").model == "owner/name"


def test_the_adapter_and_the_prompt_are_those_of_the_run(run_folder: Path) -> None:
    def logits(source: AnswerSource) -> torch.Tensor:
        loaded, encoder = source.load()
        assert not loaded.model.training
        with torch.no_grad():
            result: torch.Tensor = loaded.model(torch.tensor([encoder.response(TEXTS[0])])).logits
        return result

    run = finished_run(run_folder)
    assert (logits(run) - logits(base_model(run.model, settings=FLOAT32))).abs().max() > 0.01
    _, encoder = run.load()
    assert encoder.decode(encoder.prompt(TEXTS[0]).ids) == f"{TEXTS[0]} ->"


def test_the_identity_changes_with_the_adapter(run_folder: Path) -> None:
    before = finished_run(run_folder).identity()
    assert finished_run(run_folder).identity() == before
    weights = run_folder / "adapter" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert finished_run(run_folder).identity() != before
    assert base_model(str(before["model"])).identity()["trained_hash"] == []


def test_a_run_that_is_not_finished_says_so(run_folder: Path) -> None:
    (run_folder / "run.json").unlink()
    with pytest.raises(DataError, match="no finished run"):
        open_source(str(run_folder))


def test_a_run_without_its_adapter_says_so(run_folder: Path) -> None:
    (run_folder / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="adapter of this run is gone"):
        open_source(str(run_folder))


@pytest.mark.parametrize(
    "text",
    ['{"model": ', "[]", "{}", '{"model": "a", "prompt": {"template": "x"}, "model_settings": {}}'],
)
def test_a_damaged_record_is_one_clear_error(text: str, run_folder: Path) -> None:
    (run_folder / "run.json").write_text(text)
    with pytest.raises(DataError) as caught:
        open_source(str(run_folder))
    assert caught.value.file == str(run_folder / "run.json")


def test_a_truncated_adapter_is_one_clear_error(run_folder: Path) -> None:
    weights = run_folder / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ModelError, match="adapter does not fit"):
        finished_run(run_folder).load()


def test_the_head_is_given_no_strided_view(run_folder: Path) -> None:
    # A strided (B, 1, D) makes torch multiply row by row, with a copy of the head for each.
    loaded, encoder = finished_run(run_folder).load()
    seen = []
    loaded.model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: seen.append((inputs[0].shape[1], inputs[0].is_contiguous()))
    )
    ids = torch.tensor([encoder.response(TEXTS[0])] * 2)
    with torch.no_grad():
        loaded.model(ids, logits_to_keep=1)
    assert seen == [(1, True)]
