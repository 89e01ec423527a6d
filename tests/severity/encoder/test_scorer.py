from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from severity.encoder.conftest import MakeSettings, complaints_with_classes, save_encoder
from tarjih.errors import ModelError
from tarjih.models import packaged
from tarjih.models.packaged import PackagedModel
from tarjih.severity.annotator import NO_WORK
from tarjih.severity.encoder import scorer as module
from tarjih.severity.encoder.fine_tune import fine_tune
from tarjih.severity.encoder.load import load_encoder
from tarjih.severity.encoder.scorer import TRAINED, EncoderScorer
from tarjih.severity.encoder.settings import EncoderSettings

COMPLAINTS, CLASSES = complaints_with_classes(24)
TEXTS = ["", "x", "word " * 60, *COMPLAINTS]


@pytest.fixture
def packaged_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tiny encoder as if a package had brought it."""
    monkeypatch.setenv("TARJIH_CACHE", str(tmp_path / "cache"))

    def convert(folder: Path) -> None:
        save_encoder(folder)

    model = PackagedModel("tiny", "json", "tiny-dist", "MIT", 1, convert)
    monkeypatch.setitem(packaged.PACKAGED_MODELS, "tiny", model)
    return "packaged:tiny"


def fitted(settings: EncoderSettings) -> EncoderScorer:
    return fine_tune(COMPLAINTS, CLASSES, settings, NO_WORK)


@pytest.mark.parametrize("pooling", ["mean", "model"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8-dynamic"])
def test_what_is_written_scores_bit_for_bit_as_before(
    pooling: str, precision: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(epochs=1, pooling=pooling, scoring_precision=precision)
    scorer = fitted(settings)
    scorer.write(tmp_path)
    before = torch.random.get_rng_state()
    again = EncoderScorer.read(tmp_path, settings)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(again.logits(TEXTS), scorer.logits(TEXTS))
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors"}


def test_the_own_head_is_written_as_transformers_reads_it(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(epochs=1, pooling="model")
    scorer = fitted(settings)
    scorer.write(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    ids = scorer.encoder.tokens(COMPLAINTS[:1], settings)
    with torch.inference_mode():
        found = model(torch.tensor(ids)).logits
    np.testing.assert_allclose(found.numpy(), scorer.logits(COMPLAINTS[:1]), atol=1e-5)
    assert model.config.id2label[2] == "critical"


@pytest.mark.parametrize("frozen", ["embeddings", "body"])
def test_of_a_packaged_encoder_only_what_was_trained_is_written(
    frozen: str, packaged_encoder: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(epochs=1, model=packaged_encoder, frozen=frozen)
    scorer = fitted(settings)
    (tmp_path / "out").mkdir()
    scorer.write(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"encoder.json", TRAINED}
    names = load_file(tmp_path / "out" / TRAINED).keys()
    assert not any("embeddings" in name for name in names)
    assert {"head.weight", "head.bias"} <= names
    assert (len(names) == 2) is (frozen == "body")
    again = EncoderScorer.read(tmp_path / "out", settings)
    assert np.array_equal(again.logits(TEXTS), scorer.logits(TEXTS))


def test_another_packaged_encoder_than_the_fitted_one_is_told(
    packaged_encoder: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(epochs=1, model=packaged_encoder)
    (tmp_path / "out").mkdir()
    fitted(settings).write(tmp_path / "out")
    about = tmp_path / "out" / "encoder.json"
    changed = {**json.loads(about.read_text()), "pretrained_weights": "0" * 64}
    about.write_text(json.dumps(changed))
    with pytest.raises(ModelError, match="not the one that this annotator was fine-tuned from"):
        EncoderScorer.read(tmp_path / "out", settings)


@pytest.mark.parametrize("change", ["lost", "added", "another shape"])
def test_weights_that_do_not_fit_are_told(
    change: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(epochs=1)
    fitted(settings).write(tmp_path)
    tensors = load_file(tmp_path / TRAINED)
    if change == "lost":
        del tensors["head.bias"]
    elif change == "added":
        tensors["head.more"] = torch.ones(1)
    else:
        tensors["head.bias"] = torch.ones(1)
    save_file(tensors, tmp_path / TRAINED)
    with pytest.raises(ValueError, match="not those of this encoder"):
        EncoderScorer.read(tmp_path, settings)


def test_the_result_does_not_depend_on_what_else_is_scored(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(pooling="model")
    scorer = EncoderScorer(load_encoder(settings), settings)
    alone = np.concatenate([scorer.logits([text]) for text in TEXTS])
    np.testing.assert_allclose(scorer.logits(TEXTS), alone, atol=1e-5)
    monkeypatch.setattr(module, "_WINDOW", 5)
    monkeypatch.setattr(module, "BATCH_TOKENS", {"cpu": 64})
    np.testing.assert_allclose(scorer.logits(TEXTS[::-1]), alone[::-1], atol=1e-5)
    assert scorer.logits(TEXTS).dtype == np.float64
    assert scorer.logits([]).shape == (0, 3)


def test_each_distinct_text_is_read_once(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(pooling="model")
    scorer = EncoderScorer(load_encoder(settings), settings)
    rows = 0
    read = scorer.encoder.classifier.forward

    def counted(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        nonlocal rows
        rows += len(tokens)
        return read(tokens, mask)

    monkeypatch.setattr(scorer.encoder.classifier, "forward", counted)
    found = scorer.logits([*COMPLAINTS, *COMPLAINTS[::-1]])
    assert rows == len(set(COMPLAINTS))
    assert np.array_equal(found[: len(COMPLAINTS)], found[len(COMPLAINTS) :][::-1])


@pytest.mark.parametrize(("precision", "far"), [("bfloat16", 0.2), ("int8-dynamic", 0.2)])
def test_a_lower_precision_comes_close(
    precision: str, far: float, make_settings: MakeSettings
) -> None:
    scorer = fitted(make_settings(epochs=3))
    wanted = scorer.logits(COMPLAINTS)
    settings = make_settings(scoring_precision=precision)
    found = EncoderScorer(scorer.encoder, settings).logits(COMPLAINTS)
    assert not np.array_equal(found, wanted)
    np.testing.assert_allclose(found, wanted, atol=far)
    assert (found.argmax(axis=1) == wanted.argmax(axis=1)).all()


def test_8_bit_integers_on_a_gpu_are_refused(make_settings: MakeSettings) -> None:
    settings = make_settings(scoring_precision="int8-dynamic")
    on_gpu = replace(load_encoder(settings), device=torch.device("cuda"))
    with pytest.raises(ModelError, match="8-bit integers are for scoring on a CPU") as caught:
        EncoderScorer(on_gpu, settings)
    assert "scoring_precision to bfloat16" in caught.value.remedy


@pytest.mark.parametrize(
    ("rank", "gpus", "taken"), [("1", 2, [1]), ("3", 2, [1]), (None, 2, []), ("1", 0, [])]
)
def test_each_launched_process_takes_a_gpu_of_its_own(
    rank: str | None,
    gpus: int,
    taken: list[int],
    make_settings: MakeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(epochs=1)
    fitted(settings).write(tmp_path)
    found: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    EncoderScorer.read(tmp_path, settings)
    assert found == taken
