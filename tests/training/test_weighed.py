from __future__ import annotations

import pytest

from tarjih.data.prompt import PromptSettings
from tarjih.errors import DataError, SettingsError
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import Consultation, SeverityDistribution
from tarjih.training.batches import Passes
from tarjih.training.settings import TrainingSettings
from tarjih.training.weighed import WeighedExamples, weigh_examples
from tarjih.weighting import Weighting
from tiny_models import TEXTS, make_consultations, make_tokenizer

ENCODER = PromptEncoder(make_tokenizer(), PromptSettings())
BALANCED = Weighting(alpha=0.5, beta=1, gamma=1.5)


def weigh(
    consultations: list[Consultation], weighting: Weighting = BALANCED, **settings: object
) -> WeighedExamples:
    training = TrainingSettings.model_validate({"max_tokens": 200, "batch_size": 4, **settings})
    return weigh_examples(consultations, ENCODER, weighting=weighting, training=training, seed=1)


def test_each_example_has_the_tokens_and_the_weight_of_its_consultation() -> None:
    consultations = make_consultations(9)
    weighed = weigh(consultations)
    for example, one in zip(weighed.examples, consultations, strict=True):
        assert one.probabilities is not None
        mild, neutral, severe = one.probabilities.as_tuple()
        assert example.weight == pytest.approx(0.5 * mild + neutral + 1.5 * severe)
        assert example.prompt_ids == ENCODER.prompt(one.complaint).ids
        assert example.response_ids == ENCODER.response(one.response)
    assert weighed.spread.examples == 9
    assert weighed.spread.maximum == max(example.weight for example in weighed.examples)


def test_weights_stay_with_their_rows_when_others_are_left_out() -> None:
    long = Consultation("long", TEXTS[2], TEXTS[1] * 20, probabilities=None)
    rows = [long, *make_consultations(3)]
    weighed = weigh(rows, long_responses="drop")
    assert weighed.weights.tolist() == weigh(rows[1:]).weights.tolist()


def test_the_mean_is_taken_over_supervised_tokens() -> None:
    weighed = weigh(
        make_consultations(9), Weighting(alpha=0.5, beta=1, gamma=1.5, normalise="mean")
    )
    total = sum(example.weight * len(example.response_ids) for example in weighed.examples)
    assert total == pytest.approx(sum(len(example.response_ids) for example in weighed.examples))


WHOLE = Passes(packed=False, cut=False)


def test_padding_is_none_where_each_example_stands_alone() -> None:
    weighed = weigh(make_consultations(9))
    alone = TrainingSettings(batch_size=1)
    assert weighed.padding_share(alone, 1, WHOLE) == pytest.approx(0.0)
    # All in one batch: every example is as wide as the widest.
    lengths = [len(example) for example in weighed.examples]
    together = 1 - sum(lengths) / (9 * max(lengths))
    share = weighed.padding_share(TrainingSettings(batch_size=16), 1, WHOLE)
    assert share == pytest.approx(together)


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(DataError, match="is-bare has no severity probabilities"):
        weigh([Consultation("is-bare", TEXTS[2], TEXTS[3])])
    certain = Consultation("mild", TEXTS[2], TEXTS[3], probabilities=SeverityDistribution(1, 0, 0))
    with pytest.raises(SettingsError, match="weight 0"):
        weigh([certain], Weighting(alpha=0, beta=1, gamma=1))
