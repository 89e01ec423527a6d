"""A tiny random encoder on disk, and answers made up for the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tarjih.records import Generation, Severity

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnop"]
LAYERS = 4
POSITIONS = 24

_FROM_OBJECT: Callable[..., Any] = PreTrainedTokenizerFast  # its constructor has no types
MakeGeneration = Callable[..., Generation]


def make_tokenizer() -> PreTrainedTokenizerFast:
    numbers = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(numbers, VOCABULARY[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # No model_max_length: that is what kills bert-score when nobody takes care.
    names = zip(("pad_token", "unk_token", "cls_token", "sep_token"), VOCABULARY, strict=False)
    made: PreTrainedTokenizerFast = _FROM_OBJECT(tokenizer_object=tokenizer, **dict(names))
    return made


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The name holds "t5", which makes bert-score itself load a T5 model.
    folder = tmp_path_factory.mktemp("tiny-t5-bert")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = BertModel(
            BertConfig(
                vocab_size=len(VOCABULARY),
                hidden_size=16,
                num_hidden_layers=LAYERS,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=POSITIONS,
            )
        )
    # A trained encoder's vectors lie in a cone, random ones do not. It matters because bert-score
    # lets padding, whose similarity is 0, win over negative similarities.
    for name, parameter in model.named_parameters():
        if name.endswith("output.LayerNorm.bias"):
            parameter.data.fill_(1.0)
    # Half precision on disk: the scores must be computed in single precision all the same.
    torch.nn.Module.half(model).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def make_generation() -> MakeGeneration:
    def make(number: int, answer: str, reference: str, **changes: object) -> Generation:
        values: dict[str, object] = {
            "id": f"case-{number}",
            "complaint": "a b c",
            "reference": reference,
            "answer": answer,
            "severity": Severity.NEUTRAL,
            "severity_is_labelled": True,
            "specialty": None,
            "new_tokens": 3,
            "stopped": True,
            "reference_loss": 6.0,
            "reference_tokens": 3,
            **changes,
        }
        return Generation(**values)  # type: ignore[arg-type]  # the point is to vary any field

    return make
