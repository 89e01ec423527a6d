from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
)

from severity.encoder.conftest import POSITIONS, MakeSettings, save_encoder
from tarjih.errors import ModelError
from tarjih.severity.encoder.classifier import pad
from tarjih.severity.encoder.load import hardware, load_encoder, pretrained_weights
from tiny_models import make_tokenizer


@pytest.fixture
def folder(encoder_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(encoder_folder, tmp_path / "spoilt"))


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def without_padding_token(folder: Path) -> None:
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["pad_token"]
    file.write_text(json.dumps(config))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)


def with_half_a_file(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def without_a_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["bert.encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def with_a_weight_of_another_shape(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["bert.encoder.layer.1.output.dense.weight"] = torch.ones(3, 3)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def with_pickled_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def that_writes(folder: Path) -> None:
    GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=300)).save_pretrained(
        folder
    )


def that_translates(folder: Path) -> None:
    T5Config(d_model=8, num_layers=1).save_pretrained(folder)


def with_a_strange_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "nobody-knows"}')


@pytest.mark.parametrize("pooling", ["mean", "model"])
@pytest.mark.parametrize(
    ("spoil", "what", "remedy"),
    [
        (without_config, "holds no model", "packaged:e5-small"),
        (without_tokenizer, "has no tokenizer", "tokenizer.json"),
        (without_padding_token, "no padding token", "pad_token"),
        (with_half_a_file, "model cannot be read", "packaged:e5-small"),
        (without_a_weight, "1 weights of the encoder .*layer.1.output", "packaged:e5-small"),
        (with_a_weight_of_another_shape, "layer.1.output|size mismatch|mismatch", "packaged"),
        (with_pickled_weights, "model cannot be read.*safetensors", "packaged:e5-small"),
        (that_writes, "gpt2 writes text; it is no encoder", "packaged:e5-small"),
        (that_translates, "t5 writes text; it is no encoder", "packaged:e5-small"),
        (with_a_strange_config, "configuration cannot be read", "packaged:e5-small"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_cannot_be_used_is_named(
    spoil: Callable[[Path], None],
    what: str,
    remedy: str,
    pooling: str,
    folder: Path,
    make_settings: MakeSettings,
) -> None:
    spoil(folder)
    with pytest.raises(ModelError, match=what) as caught:
        load_encoder(make_settings(model=str(folder), pooling=pooling))
    assert str(folder) in str(caught.value)
    assert remedy in caught.value.remedy


def test_a_name_that_is_nothing_is_refused(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="no model folder of this name"):
        load_encoder(make_settings(model=str(tmp_path / "absent")))
    with pytest.raises(ModelError, match="no packaged model 'nothing'"):
        load_encoder(make_settings(model="packaged:nothing"))


def test_a_hub_name_without_a_network_says_what_else_can_be_done(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    settings = make_settings(model="somebody/some-encoder")
    for use in (load_encoder, pretrained_weights):
        with pytest.raises(ModelError, match="configuration cannot be read") as caught:
            use(settings)
        assert "somebody/some-encoder" in str(caught.value)
        assert "packaged:e5-small" in caught.value.remedy


def test_positions_that_are_never_read_do_not_count(
    tmp_path: Path, make_settings: MakeSettings
) -> None:
    tokenizer = make_tokenizer()
    never = tokenizer.pad_token_id + 1
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=20 + never,
        pad_token_id=tokenizer.pad_token_id,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="at most 20 tokens"):
        load_encoder(make_settings(model=str(tmp_path), max_tokens=21))
    settings = make_settings(model=str(tmp_path), max_tokens=20)
    encoder = load_encoder(settings)
    rows = encoder.tokens(["a b c d e f g h i j k l m n"], settings)
    assert len(rows[0]) == 20
    assert encoder.classifier.eval()(*pad(rows, encoder.padding, encoder.device)).isfinite().all()


def test_more_tokens_than_the_encoder_reads_are_refused(make_settings: MakeSettings) -> None:
    load_encoder(make_settings(max_tokens=POSITIONS))
    with pytest.raises(ModelError, match=f"at most {POSITIONS} tokens") as caught:
        load_encoder(make_settings(max_tokens=POSITIONS + 1))
    assert str(POSITIONS) in caught.value.remedy


def test_a_head_for_other_classes_is_replaced_and_one_for_ours_is_kept(
    encoder_folder: Path, tmp_path: Path, make_settings: MakeSettings
) -> None:
    head = "classifier.weight"
    kept = load_encoder(make_settings(pooling="model")).classifier.encoder
    assert torch.equal(
        kept.state_dict()[head], load_file(encoder_folder / "model.safetensors")[head]
    )
    assert kept.config.id2label == {0: "non_critical", 1: "neutral", 2: "critical"}
    other = save_encoder(tmp_path / "five", num_labels=5)
    new = load_encoder(make_settings(model=str(other), pooling="model")).classifier.encoder
    assert new.state_dict()[head].shape == (3, 32)


def test_an_encoder_without_a_pooler_or_a_head_is_whole(
    tmp_path: Path, make_settings: MakeSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = save_encoder(tmp_path / "bare")
    tensors = load_file(folder / "model.safetensors")
    bare = {
        name.removeprefix("bert."): tensor
        for name, tensor in tensors.items()
        if name.startswith("bert.") and "pooler" not in name
    }
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    capfd.readouterr()
    for pooling in ("mean", "model"):
        load_encoder(make_settings(model=str(folder), pooling=pooling))
    assert capfd.readouterr() == ("", "")  # what Transformers has to say about it is no news


def test_weights_are_known_by_their_content(
    encoder_folder: Path, folder: Path, tmp_path: Path, make_settings: MakeSettings
) -> None:
    weights = pretrained_weights(make_settings())
    assert load_encoder(make_settings()).weights == weights
    assert pretrained_weights(make_settings(model=str(folder))) == weights
    other = save_encoder(tmp_path / "other", intermediate_size=40)
    assert pretrained_weights(make_settings(model=str(other))) != weights


def test_weights_are_float32_whatever_the_file_holds(
    tmp_path: Path, make_settings: MakeSettings
) -> None:
    tokenizer = make_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=16,
    )
    BertForSequenceClassification(config).bfloat16().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    classifier = load_encoder(make_settings(model=str(tmp_path))).classifier
    assert {one.dtype for one in classifier.parameters()} == {torch.float32}


def test_the_hardware_is_told(make_settings: MakeSettings) -> None:
    assert hardware(make_settings()) == {"device": "cpu", "precision": "float32"}
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="no usable GPU"):
            hardware(make_settings(device="cuda"))
