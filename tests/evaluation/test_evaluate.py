from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import sacrebleu

from tarjih.errors import DataError
from tarjih.evaluation import evaluate as module
from tarjih.evaluation.bertscore import BertScoreSettings, load_encoder
from tarjih.evaluation.evaluate import EvaluationSettings, evaluate, measure, per_example
from tarjih.records import Generation, Severity

from .conftest import MakeGeneration


@pytest.fixture
def settings(encoder_folder: Path) -> EvaluationSettings:
    return EvaluationSettings(bertscore=BertScoreSettings(encoder=str(encoder_folder)))


@pytest.fixture
def generations(make_generation: MakeGeneration) -> list[Generation]:
    critical = Severity.CRITICAL
    return [
        make_generation(1, "a b c", "a b c", severity=critical, reference_loss=9.0),
        make_generation(2, "", "d e f", severity=critical, stopped=False, reference_tokens=9),
        make_generation(
            3, "g g g g g", "h", severity=None, reference_loss=None, reference_tokens=None
        ),
        make_generation(4, "a d", "a b c d", severity_is_labelled=False),
    ]


def test_overall_by_hand(generations: list[Generation], settings: EvaluationSettings) -> None:
    overall = evaluate(generations, settings).overall
    assert overall.examples == 4
    assert overall.response_loss == pytest.approx((9.0 + 6.0 + 6.0) / (3 + 9 + 3))
    assert overall.perplexity == pytest.approx(math.exp(21 / 15))
    assert overall.rouge_l == pytest.approx(100 * (1 + 0 + 0 + 2 / 3) / 4)
    assert overall.empty_share == 25.0
    assert overall.repetitive_share == 25.0
    assert overall.stopped_share == 75.0
    assert overall.length_ratio == pytest.approx(10 / 11)
    assert overall.chrf == pytest.approx(
        sacrebleu.corpus_chrf(
            [one.answer for one in generations],
            [[one.reference for one in generations]],
            word_order=2,
        ).score
    )


def test_slices_are_what_evaluating_the_slice_gives(
    generations: list[Generation], settings: EvaluationSettings
) -> None:
    scores = evaluate(generations, settings)
    assert list(scores.by_severity) == ["neutral", "critical"]  # none is non-critical
    alone = evaluate(generations[:2], settings)
    assert scores.by_severity["critical"].model_dump() == pytest.approx(alone.overall.model_dump())
    assert sum(part.examples for part in scores.by_severity.values()) == 3  # one has no severity
    assert scores.unlabelled_severities == 1


def test_rows_hold_enough_to_compute_the_scores_again(
    generations: list[Generation], settings: EvaluationSettings
) -> None:
    measurements = measure(generations, settings)
    rows = measurements.rows()
    scores = measurements.scores().overall
    assert [row["id"] for row in rows] == [one.id for one in generations]
    assert scores.bertscore_f1 == pytest.approx(sum(row["bertscore_f1"] for row in rows) / 4)
    assert scores.rouge_l == pytest.approx(sum(row["rouge_l"] for row in rows) / 4)
    assert (
        json.loads(json.dumps(rows, allow_nan=False)) == rows == per_example(generations, settings)
    )
    assert not {"answer", "complaint", "reference"} & rows[0].keys()  # no text of a patient


def test_the_encoder_runs_once_for_scores_slices_and_rows(
    generations: list[Generation], settings: EvaluationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(given: BertScoreSettings) -> object:
        calls.append(given)
        return load_encoder(given)

    monkeypatch.setattr(module, "load_encoder", counted)
    measurements = measure(generations, settings)
    measurements.scores()
    measurements.rows()
    assert len(calls) == 1


def test_every_score_has_a_signature(
    generations: list[Generation], settings: EvaluationSettings
) -> None:
    signatures = evaluate(generations, settings).signatures
    for metric in (
        "response_loss",
        "bertscore_f1",
        "chrf",
        "rouge_l",
        "empty_share",
        "repetitive_share",
    ):
        assert signatures[metric]
    assert signatures["bertscore_counts"] == "pairs:4|empty:1|truncated:0"


def test_answer_without_words_is_empty(
    make_generation: MakeGeneration, settings: EvaluationSettings
) -> None:
    scores = evaluate([make_generation(1, " ... ", "")], settings).overall
    assert scores.empty_share == 100.0
    assert scores.length_ratio == 0.0  # nothing to divide by
    assert scores.bertscore_f1 == 0.0


def test_no_answers(settings: EvaluationSettings) -> None:
    with pytest.raises(DataError, match="no answers"):
        evaluate([], settings)
