"""What the examples are given: a model, its tokenizer, and consultations as weighted token ids.

Without an argument an example takes a tiny random model, which learns nothing but shows everything;
with one, that model: a folder, a name on the hub, or packaged:gemma-3-270m.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tarjih.data.prompt import PromptSettings
from tarjih.data.read import read_consultations
from tarjih.models.packaged import resolve_model
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import SEVERITIES
from tarjih.training.collate import IGNORED
from tarjih.weighting import PRESETS, Weighting, severity_weights


def model_and_tokenizer() -> tuple[Any, Any]:
    """The model that the command names, in float32; without one, a tiny random model."""
    if len(sys.argv) > 1:
        name = resolve_model(sys.argv[1])
        model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
        return model, AutoTokenizer.from_pretrained(name)
    torch.manual_seed(0)
    tokenizer = _bytes_as_tokens()
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config), tokenizer


def _bytes_as_tokens() -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<eos>", "<pad>", *alphabet])}
    tokens = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=tokens, eos_token="<eos>", pad_token="<pad>")  # noqa: S106


def weighted_examples(tokenizer: Any, count: int = 24) -> list[dict[str, Any]]:
    """The shortest bundled consultations, as token ids with labels, weights and severities.

    The weights are those of the balanced preset. The bundled labels stand for an annotator that is
    always sure; `tarjih severity score` gives probabilities for texts without labels.
    """
    rows = sorted(read_consultations("bundled:consultations"), key=lambda row: len(row.complaint))
    encoder = PromptEncoder(tokenizer, PromptSettings())
    prompts = [encoder.prompt(row.complaint).ids for row in rows[:count]]
    responses = [encoder.response(row.response) for row in rows[:count]]
    severities = [SEVERITIES.index(row.labelled_severity) for row in rows[:count]]
    alpha, beta, gamma = PRESETS["balanced"]
    weights = severity_weights(
        np.eye(3)[severities],
        Weighting(alpha=alpha, beta=beta, gamma=gamma),
        seed=0,
        tokens=np.array([len(response) for response in responses]),
    )
    return [
        {
            "input_ids": [*prompt, *response],
            "labels": [IGNORED] * len(prompt) + response,
            "weight": float(weight),
            "severity": severity,
        }
        for prompt, response, weight, severity in zip(
            prompts, responses, weights, severities, strict=True
        )
    ]
