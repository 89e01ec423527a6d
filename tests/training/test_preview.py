from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tarjih.errors import DataError
from tarjih.models.load import load_tokenizer
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import Consultation, SeverityDistribution
from tarjih.training.collate import IGNORED, WeightedCollator
from tarjih.training.pieces import Part
from tarjih.training.preview import preview, spread_over
from tarjih.training.train import train
from tarjih.training.weighed import weigh_examples
from tarjih.weighting import Weighting
from tiny_models import TEXTS, TinyFolder, make_consultations

from .conftest import MakeJob

SHORTENED = 40  # tokens that some complaints do not fit in
DISTRIBUTION = SeverityDistribution(0.2, 0.3, 0.5)


@pytest.mark.parametrize("architecture", ["qwen2", "bloom"])
def test_the_numbers_are_those_of_the_run(
    architecture: str, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(architecture, max_tokens=SHORTENED, batch_tokens=100)
    seen, done = preview(job), train(job, tmp_path / "run")
    assert seen.spread == done.weights
    assert seen.examples == done.training.examples == 12
    assert seen.supervised_tokens == done.training.supervised_tokens
    assert seen.padding_share == pytest.approx(done.training.padding_share)
    assert (seen.padding_share > 0) == (architecture == "bloom")  # others are laid end to end
    assert seen.truncated_complaints == done.training.truncated_complaints > 0
    assert seen.longest <= SHORTENED


def test_no_weights_of_a_model_are_needed(
    make_job: MakeJob, tiny_folder: TinyFolder, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_folder("qwen2"), bare, ignore=shutil.ignore_patterns("*.safetensors"))
    assert preview(make_job(model=str(bare))).shown == preview(make_job()).shown


def test_the_lowest_the_middle_and_the_highest_weight_are_shown(make_job: MakeJob) -> None:
    seen = preview(make_job())
    weights = [one.weight for one in seen.shown]
    # The three distributions of the rows, each of them in every third row.
    assert weights == pytest.approx([0.7, 0.95, 1.25])
    assert [one.rank for one in seen.shown] == [1, 7, 12]
    assert preview(make_job()) == seen


def test_shown_examples_count_their_tokens(make_job: MakeJob) -> None:
    for one in preview(make_job(), 12).shown:
        parts = [piece.part for piece in one.pieces for _ in piece.ids]
        assert parts.count(Part.PROMPT) == one.prompt_tokens
        assert parts.count(Part.RESPONSE) + 1 == one.supervised_tokens
        assert one.dropped_tokens == 0
        text = "".join(piece.text for piece in one.pieces)
        assert one.consultation.complaint in text
        assert text.endswith(f"{one.consultation.response.strip()}<eos>")


def test_tokens_and_supervision_are_those_of_the_batch(make_job: MakeJob) -> None:
    job = make_job(max_tokens=SHORTENED)
    encoder = PromptEncoder(load_tokenizer(job.model, job.model_settings), job.prompt)
    weighed = weigh_examples(
        job.train, encoder, weighting=job.weighting, training=job.training, seed=job.seed
    )
    by_id = dict(zip([one.id for one in weighed.encoded.kept], weighed.examples, strict=True))
    for one in preview(job, 12).shown:
        batch = WeightedCollator(0)([by_id[one.consultation.id]])
        tokens = [(token, piece) for piece in one.pieces for token in piece.ids]
        trained = [(token, piece) for token, piece in tokens if piece.part is not Part.DROPPED]
        assert [token for token, _ in trained] == batch["input_ids"][0].tolist()
        supervised = (batch["labels"][0] != IGNORED).tolist()
        assert [piece.supervised for _, piece in trained] == supervised
        assert one.weight == pytest.approx(batch["weights"].item())


def test_a_shortened_example_is_always_shown(make_job: MakeJob) -> None:
    short = [Consultation(f"s{n}", TEXTS[2], TEXTS[3], probabilities=DISTRIBUTION) for n in "abc"]
    long = Consultation("long", TEXTS[0] * 9, TEXTS[3], probabilities=DISTRIBUTION)
    seen = preview(make_job(train=[*short, long]), 2)
    assert [one.consultation.id for one in seen.shown] == ["sa", "long"]
    seen = preview(make_job(train=[*short[:2], long, short[2]]), 2)
    assert [one.consultation.id for one in seen.shown] == ["sa", "sc", "long"]
    shown = seen.shown[-1]
    dropped = [piece for piece in shown.pieces if piece.part is Part.DROPPED]
    assert dropped
    assert shown.dropped_tokens > 0
    assert seen.truncated_complaints == 1


def test_left_out_responses_are_named(make_job: MakeJob) -> None:
    rows = [*make_consultations(3), Consultation("long", TEXTS[2], TEXTS[1] * 20)]
    seen = preview(make_job(train=rows, long_responses="drop"))
    assert seen.left_out == ("long",)
    assert seen.examples == 3
    with pytest.raises(DataError, match="long"):
        preview(make_job(train=rows))


def test_flat_weights_are_warned_of(make_job: MakeJob) -> None:
    flat = preview(make_job(weighting=Weighting(alpha=1, beta=1, gamma=1.01)))
    assert flat.flatness is not None
    assert "nearly flat" in flat.flatness
    assert preview(make_job()).flatness is None


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [3]), (2, [1, 2]), (3, [1, 3, 2]), (5, [1, 0, 3, 4, 2]), (9, None)]
)
def test_examples_are_spread_over_the_order_of_weights(
    count: int, chosen: list[int] | None
) -> None:
    weights = np.array([0.5, 0.1, 9.0, 0.6, 0.7])
    assert spread_over(weights, count) == (chosen or [1, 0, 3, 4, 2])


@pytest.mark.parametrize("size", range(1, 30))
def test_no_example_is_chosen_twice(size: int) -> None:
    for count in range(1, 32):
        found = spread_over(np.ones(size), count)
        assert len(set(found)) == len(found) == min(size, count)
        assert found == sorted(found)  # of equal weights, the order of the data
