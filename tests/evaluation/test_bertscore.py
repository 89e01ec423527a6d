from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, RobertaConfig, RobertaModel

from tarjih.errors import ModelError, SettingsError
from tarjih.evaluation.bertscore import (
    BertScoreSettings,
    bertscore,
    bertscore_signature,
    bertscore_statistics,
    default_layer,
    load_encoder,
)
from tarjih.settings import make_settings

from .conftest import LAYERS, POSITIONS, make_tokenizer


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def oracle_f1(folder: Path, answer: str, reference: str, layer: int) -> float:
    """Greedy matching as the paper of BERTScore writes it, in float64, one text at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()

    def vectors(text: str) -> torch.Tensor:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            hidden = model(ids, output_hidden_states=True).hidden_states[layer][0]
        return torch.nn.functional.normalize(hidden, dim=-1)

    one, other = vectors(answer), vectors(reference)
    similarity = one @ other.T
    # The first and last token ([CLS], [SEP]) can be matched but have no weight of their own.
    precision = similarity.max(dim=1).values[1:-1].mean()
    recall = similarity.max(dim=0).values[1:-1].mean()
    return float(2 * precision * recall / (precision + recall))


PAIRS = [
    ("a b c", "a b c d"),
    ("a", "p o n m l k j i h g f e d c b a"),
    ("b b b b", "c"),
    ("d e f g h", "h g f e d"),
    ("unknown words a", "a other"),
]


@pytest.mark.parametrize("layer", [1, 3, LAYERS])
@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_agrees_with_greedy_matching_in_plain_torch(
    encoder_folder: Path, layer: int, batch_size: int
) -> None:
    encoder = load_encoder(BertScoreSettings(encoder=str(encoder_folder), layer=layer))
    answers, references = zip(*PAIRS, strict=True)
    found = bertscore_statistics(answers, references, encoder, batch_size=batch_size)
    expected = [oracle_f1(encoder_folder, one, other, layer) for one, other in PAIRS]
    assert [one.f1 for one in found] == pytest.approx(expected, abs=2e-6)
    assert bertscore(found) == pytest.approx(100 * sum(expected) / len(PAIRS), abs=1e-3)
    assert len(set(expected)) == len(expected)  # otherwise a constant would pass


def test_identical_texts_score_100(encoder_folder: Path) -> None:
    encoder = load_encoder(BertScoreSettings(encoder=str(encoder_folder)))
    texts = ["a b c", "d", "e f e f"]
    found = bertscore_statistics(texts, texts, encoder, batch_size=2)
    assert bertscore(found) == pytest.approx(100.0, abs=1e-4)


@pytest.mark.parametrize("nothing", ["", "   ", "\n\t", "[CLS]", "[SEP] [CLS]"])
def test_empty_text_scores_zero_and_never_reaches_the_encoder(
    encoder_folder: Path, nothing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = load_encoder(BertScoreSettings(encoder=str(encoder_folder)))
    capsys.readouterr()  # transformers' progress bar
    found = bertscore_statistics(
        [nothing, "a b", nothing, "a b"], ["a b", nothing, nothing, "a b"], encoder, batch_size=4
    )
    assert [one.f1 for one in found] == [0.0, 0.0, 0.0, pytest.approx(1.0, abs=1e-6)]
    assert [one.empty for one in found] == [True, True, True, False]
    assert bertscore(found) == pytest.approx(25.0, abs=1e-4)
    assert capsys.readouterr().err == ""  # bert-score prints a warning when it meets an empty text


def test_only_empty_texts_need_no_encoder(encoder_folder: Path) -> None:
    encoder = load_encoder(BertScoreSettings(encoder=str(encoder_folder)))
    assert bertscore(bertscore_statistics(["", ""], ["a", ""], encoder, batch_size=1)) == 0.0


def test_long_texts_are_cut_and_counted(encoder_folder: Path) -> None:
    encoder = load_encoder(BertScoreSettings(encoder=str(encoder_folder)))
    assert encoder.longest == POSITIONS
    fits = " ".join(["a"] * (POSITIONS - 2))
    too_long = f"{fits} b b b"
    found = bertscore_statistics([too_long, fits, "a"], [fits, fits, "b"], encoder, batch_size=2)
    assert [one.truncated for one in found] == [True, False, False]
    assert found[0].f1 == pytest.approx(1.0, abs=1e-6)  # what differs was cut off


def test_progress_ends_at_all_pairs(encoder_folder: Path) -> None:
    encoder = load_encoder(BertScoreSettings(encoder=str(encoder_folder)))
    seen: list[tuple[int, int]] = []
    bertscore_statistics(
        ["a"] * 20 + [""], ["b"] * 21, encoder, batch_size=1, progress=lambda *now: seen.append(now)
    )
    assert seen == [(9, 21), (17, 21), (21, 21)]


@pytest.mark.parametrize(("layers", "layer"), [(12, 9), (24, 18), (6, 5), (4, 3), (2, 2), (1, 1)])
def test_default_layer_is_three_quarters_up(layers: int, layer: int) -> None:
    assert default_layer(layers) == layer


def test_position_table_that_starts_behind_the_padding_index(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    config = RobertaConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=10,
        pad_token_id=0,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = load_encoder(BertScoreSettings(encoder=str(tmp_path)))
    assert encoder.longest == 9
    found = bertscore_statistics(["a b c d e f g h i j k l"], ["a"], encoder, batch_size=1)
    assert found[0].truncated


def test_signature_names_everything_the_score_depends_on(
    encoder_folder: Path, tmp_path: Path
) -> None:
    settings = BertScoreSettings(encoder=str(encoder_folder))
    signature = bertscore_signature(settings, load_encoder(settings))
    assert signature.startswith(f"encoder:{encoder_folder.name}|layer:3|weights:")
    assert "rescale:no" in signature
    assert "bert-score:0.3.13" in signature
    assert str(encoder_folder) not in signature  # the same folder elsewhere is the same encoder

    torch.manual_seed(4)
    model = AutoModel.from_pretrained(encoder_folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.add_(1.0)
    model.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    other = BertScoreSettings(encoder=str(tmp_path))
    assert load_encoder(other).fingerprint != load_encoder(settings).fingerprint


def test_layer_above_the_top_is_refused(encoder_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"layer 5 was asked for.*has 4") as caught:
        load_encoder(BertScoreSettings(encoder=str(encoder_folder), layer=5))
    assert "from 1 to 4" in caught.value.remedy


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError):
        load_encoder(BertScoreSettings(encoder=str(tmp_path)))


def test_weights_that_the_files_lack_are_not_made_up(encoder_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(encoder_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": LAYERS + 1}))
    with pytest.raises(ModelError, match=r"16 weights of the encoder .* are not in its files"):
        load_encoder(BertScoreSettings(encoder=str(tmp_path)))


def test_damaged_weights_are_refused(encoder_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(encoder_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot be read"):
        load_encoder(BertScoreSettings(encoder=str(tmp_path)))


def test_tokenizer_without_padding_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(encoder_folder).save_pretrained(tmp_path)
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no pad token"):
        load_encoder(BertScoreSettings(encoder=str(tmp_path)))


def test_layers_count_from_one() -> None:
    with pytest.raises(SettingsError, match="layer"):
        make_settings(BertScoreSettings, {"layer": 0})
