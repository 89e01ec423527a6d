"""A random model of AraGPT2-Base's shape, for benchmarks: 12 layers of 768, 64,000 tokens.

Its tokenizer is a byte-level BPE trained on consultations that the benchmark does not use, up to
64,000 tokens or as many as the text gives. On new text it needs about 1.2 tokens a word, near what
a large Arabic vocabulary needs, so that examples have realistic lengths; the model's table has
64,000 rows whatever the tokenizer has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

NAME = "aragpt2-shape"
VOCABULARY = 64_000
_END = "<|endoftext|>"
_tokenizer_of: Callable[..., Any] = PreTrainedTokenizerFast  # its constructor has no types


def save_aragpt2_shape(folder: Path, texts: Iterable[str]) -> None:
    """Write the model and a tokenizer trained on `texts`."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[_END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = _tokenizer_of(tokenizer_object=bpe, bos_token=_END, eos_token=_END, pad_token=_END)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=1024,
        n_embd=768,
        n_layer=12,
        n_head=12,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: Any = GPT2LMHeadModel(config)
    model.save_pretrained(folder)
