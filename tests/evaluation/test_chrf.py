from __future__ import annotations

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from tarjih.evaluation.chrf import chrf, chrf_signature, chrf_statistic

TEXT = st.text(alphabet="ab AB.\u0627\u0628\u064b", max_size=30)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
def test_summed_statistics_equal_the_corpus_score_of_sacrebleu(
    pairs: list[tuple[str, str]],
) -> None:
    answers = [answer for answer, _ in pairs]
    references = [reference for _, reference in pairs]
    expected = sacrebleu.corpus_chrf(answers, [references], word_order=2).score
    assert chrf([chrf_statistic(*pair) for pair in pairs]) == pytest.approx(expected, abs=1e-9)


def test_bounds_and_empty_answers() -> None:
    same = chrf_statistic("one two three four", "one two three four")
    assert chrf([same]) == pytest.approx(100.0)
    assert chrf([chrf_statistic("", "one two three")]) == 0.0
    assert chrf([chrf_statistic("", "")]) == 0.0
    assert 0.0 < chrf([same, chrf_statistic("", "one two three")]) < 100.0


def test_case_is_kept() -> None:
    assert chrf([chrf_statistic("ABC DEF", "abc def")]) == 0.0


def test_signature_is_that_of_sacrebleu_after_scoring() -> None:
    metric = sacrebleu.CHRF(word_order=2)
    metric.corpus_score(["a"], [["a"]])
    assert chrf_signature() == f"chrF2++|{metric.get_signature()}"
    assert "nw:2" in chrf_signature()
