from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    FalconH1Config,
    FalconH1ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
)

from tarjih.errors import ModelError
from tarjih.loss import UNCHANGED, LogitChange
from tarjih.models.load import LoadedModel
from tarjih.models.logits import (
    base_model_of,
    check_logits,
    logit_change,
    output_head,
    unchanged_logits,
)
from tarjih.models.lora import LoraSettings, add_lora
from tarjih.training.collate import WeightedCollator
from tarjih.training.head import weighted_forward
from tiny_models import ARCHITECTURES

SMALL: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FALCON: dict[str, Any] = {
    **SMALL,
    "mamba_d_ssm": 16,
    "mamba_n_heads": 2,
    "mamba_d_head": 8,
    "mamba_d_state": 4,
}
CHANGING: dict[str, tuple[Callable[[], Any], LogitChange]] = {
    "gemma2": (
        lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=1.5)),
        LogitChange(cap=1.5),
    ),
    "granite": (
        lambda: GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=8.0)),
        LogitChange(scale=1 / 8),
    ),
    "cohere": (
        lambda: CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.25)),
        LogitChange(scale=0.25),
    ),
    "cohere2": (
        lambda: Cohere2ForCausalLM(Cohere2Config(**SMALL, logit_scale=3.0)),
        LogitChange(scale=3.0),
    ),
    "falcon_h1": (
        lambda: FalconH1ForCausalLM(FalconH1Config(**FALCON, lm_head_multiplier=0.5)),
        LogitChange(scale=0.5),
    ),
}


@pytest.fixture(params=CHANGING)
def changing(request: pytest.FixtureRequest) -> tuple[Any, LogitChange]:
    make, change = CHANGING[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make().eval(), change


def test_a_change_of_logits_is_read_from_the_models_settings(
    changing: tuple[Any, LogitChange],
) -> None:
    model, change = changing
    assert logit_change(model) == change
    check_logits(model)


def test_the_loss_is_that_of_the_models_own_changed_logits(
    changing: tuple[Any, LogitChange],
) -> None:
    model, _ = changing
    features = [
        {"input_ids": [5, 6, 7, 8, 2], "labels": [-100, -100, 7, 8, 2], "weight": 0.5},
        {"input_ids": [9, 10, 2], "labels": [-100, 10, 2], "weight": 2.0},
    ]
    batch = WeightedCollator(0)(features)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    plain = nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), batch["labels"][:, 1:], reduction="none"
    )
    expected = (plain * batch["weights"].unsqueeze(1)).sum()
    names = [name for name, _ in model.named_parameters()]
    wanted = torch.autograd.grad(expected, model.parameters(), allow_unused=True)
    total = weighted_forward(model, batch).total
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-5)
    found = torch.autograd.grad(total, model.parameters(), allow_unused=True)
    for name, one, other in zip(names, found, wanted, strict=True):
        if other is not None:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=name)


def test_the_models_settings_are_its_own_again(changing: tuple[Any, LogitChange]) -> None:
    model, change = changing
    tokens = torch.tensor([[5, 6, 7]])
    before = model(input_ids=tokens).logits
    with unchanged_logits(model):
        assert logit_change(model) == UNCHANGED
        assert not torch.equal(model(input_ids=tokens).logits, before)
    assert logit_change(model) == change
    assert torch.equal(model(input_ids=tokens).logits, before)


def test_a_change_that_is_not_known_is_refused_by_the_models_name(
    changing: tuple[Any, LogitChange], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tarjih.models import logits as module

    model, _ = changing
    monkeypatch.setattr(module, "logit_change", lambda model: UNCHANGED)
    with pytest.raises(ModelError, match=f"{type(model).__name__} changes its logits"):
        check_logits(model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_papers_architectures_change_nothing(
    architecture: str, dtype: torch.dtype, tiny_model: Callable[..., LoadedModel]
) -> None:
    model = tiny_model(architecture).model.to(dtype)
    assert logit_change(model) == UNCHANGED
    check_logits(model)


def test_wrappers_are_seen_through(tiny_model: Callable[..., LoadedModel]) -> None:
    plain = tiny_model("qwen2").model
    plain.config.logits_scaling = 4.0
    wrapped = SimpleNamespace(module=add_lora(plain, LoraSettings(rank=2)))
    assert base_model_of(wrapped) is plain
    assert logit_change(wrapped) == LogitChange(scale=0.25)


def test_a_head_that_is_not_linear_is_refused() -> None:
    model = SimpleNamespace(get_output_embeddings=nn.Identity)
    with pytest.raises(ModelError, match="Identity"):
        output_head(model)
