"""Tiny random models of the real classes, with a tokenizer, in folders as users have them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tarjih.models.load import LoadedModel, ModelSettings, load_causal_model
from tarjih.records import Consultation, SeverityDistribution

TEXTS = (
    "السؤال: عندي صداع شديد منذ يومين هل أحتاج إلى طبيب؟",
    "الإجابة: خذ قسطا من الراحة واشرب الماء، وإن استمر الصداع فراجع الطبيب.",
    "أعاني من ألم في الصدر وضيق في التنفس",
    "توجه إلى الطوارئ فورا ولا تنتظر",
    "بشرتي جافة ما هو الكريم المناسب؟",
    "استعمل كريما مرطبا مرتين في اليوم",
)
ARCHITECTURES = ("gemma3", "gpt2", "qwen2", "qwen3", "bloom", "lfm2")
FLOAT32 = ModelSettings(precision="float32", device="cpu")
PROBABILITIES = ((0.7, 0.2, 0.1), (0.1, 0.3, 0.6), (0.3, 0.5, 0.2))
_VOCABULARY = 400
_FROM_OBJECT: Callable[..., Any] = PreTrainedTokenizerFast  # its constructor has no types

TinyFolder = Callable[..., Path]
"""tiny_folder(architecture, one_special=False) -> the folder of a saved model."""


def make_tokenizer(*, one_special: bool = False) -> Any:
    """Byte-level BPE. With `one_special`, begin, end and padding are one token, as in GPT-2;
    else each has its own, and every text begins with the begin token, as in Gemma.
    """
    specials = ["<eos>"] if one_special else ["<pad>", "<eos>", "<bos>"]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=_VOCABULARY,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if one_special:
        names = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<eos>")
        return _FROM_OBJECT(tokenizer_object=bpe, **names)
    bpe.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", bpe.token_to_id("<bos>"))]
    )
    names = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad")}
    return _FROM_OBJECT(tokenizer_object=bpe, **names)


def make_model(architecture: str, tokenizer: Any) -> Any:
    """A random model. Its weights are wide, so that no two tokens are nearly equally likely."""
    ids = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.3,
    }
    usual = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        **ids,
    }
    with torch.random.fork_rng():
        torch.manual_seed(7)
        match architecture:
            case "gemma3":
                layers = ["sliding_attention", "full_attention"]
                config: Any = Gemma3TextConfig(
                    **usual, head_dim=8, sliding_window=8, layer_types=layers
                )
                model: Any = Gemma3ForCausalLM(config)
            case "gpt2":
                no_dropout: Any = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
                model = GPT2LMHeadModel(
                    GPT2Config(
                        n_embd=16, n_layer=2, n_head=2, n_positions=2048, **ids, **no_dropout
                    )
                )
            case "qwen2":
                model = Qwen2ForCausalLM(Qwen2Config(**usual))
            case "qwen3":
                model = Qwen3ForCausalLM(Qwen3Config(**usual, head_dim=8))
            case "llama":
                model = LlamaForCausalLM(LlamaConfig(**usual))
            case "bloom":
                model = BloomForCausalLM(BloomConfig(hidden_size=16, n_layer=2, n_head=2, **ids))
            case _:
                layers = ["conv", "full_attention"]
                model = Lfm2ForCausalLM(Lfm2Config(**usual, layer_types=layers))
    return model.eval()


@functools.cache
def _saved(base: Path, architecture: str, one_special: bool) -> Path:
    folder = base / "tiny" / f"{architecture}{'-one-special' if one_special else ''}"
    tokenizer = make_tokenizer(one_special=one_special)
    make_model(architecture, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    def folder(architecture: str, one_special: bool = False) -> Path:
        return _saved(tmp_path_factory.getbasetemp(), architecture, one_special)

    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: TinyFolder) -> Callable[..., LoadedModel]:
    """A freshly loaded tiny model each time it is called, for tests that change it."""

    def load(architecture: str, one_special: bool = False) -> LoadedModel:
        return load_causal_model(str(tiny_folder(architecture, one_special)), FLOAT32)

    return load


def make_consultations(count: int) -> list[Consultation]:
    """Consultations of very different lengths, with probabilities that differ."""
    made = []
    for index in range(count):
        complaint = " ".join(TEXTS[(index + step) % 6] for step in range(1 + index % 3))
        made.append(
            Consultation(
                id=f"case-{index}",
                complaint=complaint,
                response=TEXTS[(index * 5 + 1) % 6][: 6 + 9 * (index % 4)],
                probabilities=SeverityDistribution(*PROBABILITIES[index % 3]),
            )
        )
    return made


def move_adapters(model: torch.nn.Module) -> None:
    """Change every trainable parameter, as training would: adapters begin as nothing."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
