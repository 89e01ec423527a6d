"""A random BERT of two layers, and complaints that it can learn to tell apart."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from severity.conftest import COMMON, TYPICAL
from tarjih.records import SEVERITIES, Severity
from tarjih.severity.calibration import Integers
from tarjih.severity.encoder.settings import EncoderSettings
from tiny_models import make_tokenizer

POSITIONS = 96

MakeSettings = Callable[..., EncoderSettings]


def save_encoder(folder: Path, **changes: Any) -> Path:
    """A random BERT that reads Arabic in bytes; its weights are wide, so that texts differ."""
    tokenizer = make_tokenizer()
    tokenizer.cls_token, tokenizer.sep_token = tokenizer.bos_token, tokenizer.eos_token
    config = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
        "num_labels": 3,
        **changes,
    }
    with torch.random.fork_rng():
        torch.manual_seed(3)
        BertForSequenceClassification(BertConfig(**config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder") / "tiny-bert")


@pytest.fixture(scope="session")
def make_settings(encoder_folder: Path) -> MakeSettings:
    """Settings for the tiny encoder: quick, in float32, on a CPU."""

    def make(**changes: Any) -> EncoderSettings:
        quick = {
            "model": str(encoder_folder),
            "folds": 2,
            "max_tokens": 48,
            "pooling": "mean",
            "frozen": "none",
            "learning_rate": 3e-3,
            "head_learning_rate": 1e-2,
            "epochs": 3,
            "batch_size": 8,
            "precision": "float32",
            "device": "cpu",
        }
        return EncoderSettings.model_validate({**quick, **changes})

    return make


def complaints_with_classes(rows: int, seed: int = 0) -> tuple[list[str], Integers]:
    """Short complaints, each with three of four words that only its severity has."""
    draw = random.Random(seed)
    complaints = []
    for row in range(rows):
        words = draw.sample(TYPICAL[SEVERITIES[row % 3]][:4], 3) + draw.sample(COMMON, 1)
        draw.shuffle(words)
        complaints.append(" ".join(words))
    return complaints, np.arange(rows, dtype=np.int64) % 3


def severities(classes: Integers) -> list[Severity]:
    return [SEVERITIES[int(index)] for index in classes]
