"""A world small enough for the whole product to run in: data, a model, an encoder, a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import BertConfig, BertModel

from tarjih.config import ExperimentConfig
from tarjih.data.read import read_consultations
from tarjih.data.sources import BUNDLED
from tarjih.records import SEVERITIES, Consultation
from tiny_models import TinyFolder, make_tokenizer

ROWS = 30


def few_consultations(rows: int = ROWS) -> list[Consultation]:
    """The shortest bundled consultations, as many of each severity; without probabilities."""
    by_length = sorted(
        read_consultations(BUNDLED), key=lambda one: (len(one.complaint + one.response), one.id)
    )
    return [
        one
        for severity in SEVERITIES
        for one in [each for each in by_length if each.labelled_severity is severity][: rows // 3]
    ]


def write_consultations(file: Path, consultations: list[Consultation], **more: Any) -> Path:
    """JSON lines with the columns that people have; `more` is added to each row."""
    lines = [
        json.dumps(
            {
                "id": one.id,
                "complaint": one.complaint,
                "response": one.response,
                "specialty": one.specialty,
                "severity": one.labelled_severity,
                **more,
            },
            ensure_ascii=False,
        )
        for one in consultations
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def labelled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_consultations(folder / "labelled.jsonl", few_consultations())


@pytest.fixture(scope="session")
def model_folder(tiny_folder: TinyFolder) -> Path:
    return tiny_folder("qwen2")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT that reads Arabic in bytes."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    tokenizer = make_tokenizer()
    tokenizer.cls_token, tokenizer.sep_token = tokenizer.bos_token, tokenizer.eos_token
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
                max_position_embeddings=96,
            )
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def plan(labelled_file: Path, model_folder: Path, tiny_encoder: Path) -> dict[str, Any]:
    """The settings of an experiment that takes a second or two."""
    return {
        "name": "a tiny experiment",
        "data": {
            "sources": [str(labelled_file)],
            "prepare": {"seed": 1, "validation_fraction": 0.15, "test_fraction": 0.2},
        },
        "severity": {"annotator": {"folds": 2, "min_complaints": 1}},
        "models": [str(model_folder)],
        "conditions": ["base", "uniform", "strong"],
        "seeds": [1],
        "loading": {"precision": "float32", "device": "cpu"},
        "training": {
            "max_steps": 3,
            "batch_size": 4,
            "max_tokens": 2048,
            "validation_examples": 2,
            "checkpoint_every": 1,
        },
        "generation": {"max_new_tokens": 6, "batch_size": 3, "max_prompt_tokens": 1024},
        "evaluation": {"bertscore": {"encoder": str(tiny_encoder), "layer": 1}},
    }


@pytest.fixture(scope="session")
def plan_file(tmp_path_factory: pytest.TempPathFactory, plan: dict[str, Any]) -> Path:
    return write_plan(tmp_path_factory.mktemp("plan") / "tiny.yaml", plan)


def write_plan(file: Path, plan: dict[str, Any]) -> Path:
    file.write_text(yaml.safe_dump(plan, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return file


def config_of(plan: dict[str, Any], **changes: Any) -> ExperimentConfig:
    """The experiment with changes such as `training__max_steps=2`."""
    raw = json.loads(json.dumps(plan))
    for key, value in changes.items():
        *path, last = key.split("__")
        place = raw
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return ExperimentConfig.model_validate(raw)


def without_times(value: Any) -> Any:
    """JSON without what differs between two runs that did the same."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key != "seconds"}
    if isinstance(value, list):
        return [without_times(one) for one in value]
    return value
