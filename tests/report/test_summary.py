from __future__ import annotations

import pytest

from tarjih.records import WeightSpread
from tarjih.report.summary import (
    flat_conditions,
    is_constant,
    seeds_sentence,
    spread_sentence,
    summary_sentences,
)

from .demo import make_record, make_results, make_scores, make_slice, make_spread


def scores(bertscore: float, loss: float) -> object:
    return make_scores(make_slice(bertscore_f1=bertscore, response_loss=loss))


def test_one_seed_claims_nothing() -> None:
    results = make_results(
        make_record("m", "uniform", 1, scores=scores(60.0, 3.0)),
        make_record("m", "balanced", 1, scores=scores(67.18, 2.5)),
    )
    sentences = summary_sentences(results)
    assert sentences[1].startswith("Each cell rests on one seed, so no claim can be made")
    assert sentences[2] == "SA balanced minus CE: BERTScore F1 +7.18, Response loss \u22120.500."
    words = " ".join(sentences).lower()
    assert not any(
        word in words for word in ("significant", "better than", "outperform", "improve")
    )


def test_range_over_models() -> None:
    results = make_results(
        make_record("a", "uniform", 1, scores=scores(60.0, 3.0)),
        make_record("a", "mild", 1, scores=scores(59.0, 3.0)),
        make_record("b", "uniform", 1, scores=scores(60.0, 3.0)),
        make_record("b", "mild", 1, scores=scores(60.5, 3.1)),
        make_record("c", "mild", 1, scores=scores(99.0, 3.1)),  # nothing to compare with
    )
    assert (
        "SA mild minus CE: BERTScore F1 \u22121.00 to +0.50, Response loss 0.000 to +0.100 "
        "(lowest and highest of 2 models)."
    ) in summary_sentences(results)


def test_several_seeds_are_no_test_either() -> None:
    results = make_results(
        *(make_record("m", "uniform", seed, scores=scores(60.0, 3.0)) for seed in range(3))
    )
    assert "means over 3 seeds" in seeds_sentence(results)
    assert "No test of significance" in seeds_sentence(results)


def test_nothing_scored() -> None:
    assert summary_sentences(make_results()) == ["The experiment holds no runs yet."]
    failed = make_results(make_record("m", "mild", 1, status="failed", error="x"))
    assert "nothing to compare" in " ".join(summary_sentences(failed))


def test_flat_weights_are_named_unless_they_are_equal_on_purpose() -> None:
    results = make_results(
        make_record("m", "uniform", 1, weights=make_spread(0.0)),
        make_record("m", "constant", 1, weights=make_spread(0.0005)),
        make_record("m", "mild", 1, weights=make_spread(0.03)),
        make_record("m", "strong", 1, weights=make_spread(0.3)),
    )
    assert flat_conditions(results) == ["SA mild"]
    assert any("weights of SA mild are nearly flat" in one for one in summary_sentences(results))


def test_control_is_explained_only_when_it_ran() -> None:
    def has_control(*conditions: str) -> bool:
        records = [make_record("m", one, 1, scores=scores(60.0, 3.0)) for one in conditions]
        return "wrong complaints" in " ".join(summary_sentences(make_results(*records)))

    assert has_control("uniform", "shuffled")
    assert not has_control("uniform", "mild")


@pytest.mark.parametrize(
    ("spread", "words"),
    [
        (make_spread(0.0), "All 354 weights are 1.000."),
        (make_spread(0.1), "90 % lie between 0.930 and 1.070 (all between 0.900 and 1.100)"),
        (make_spread(0.3), "effective sample size is 99.0 % of the number of examples"),
        (make_spread(0.3), "non-critical 30.0 %, neutral 33.0 %, critical 37.0 %."),
    ],
)
def test_spread_in_words(spread: WeightSpread, words: str) -> None:
    assert words in spread_sentence(spread)


def test_constant_up_to_the_rounding_of_probabilities() -> None:
    assert is_constant(make_spread(0.001))
    assert not is_constant(make_spread(0.01))
