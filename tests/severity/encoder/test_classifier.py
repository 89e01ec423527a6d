from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from severity.encoder.conftest import MakeSettings, complaints_with_classes
from tarjih.severity.encoder.classifier import LoadedEncoder, batches_by_length, pad
from tarjih.severity.encoder.load import load_encoder

CPU = torch.device("cpu")


def logits_of(encoder: LoadedEncoder, rows: list[list[int]]) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = encoder.classifier.eval()(*pad(rows, encoder.padding, CPU))
    return found


def test_rows_are_padded_to_the_longest() -> None:
    tokens, mask = pad([[5, 6, 7], [8]], 9, CPU)
    assert tokens.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


@given(st.lists(st.integers(0, 60), max_size=60), st.integers(1, 100))
def test_batches_hold_every_row_once_within_their_budget(lengths: list[int], budget: int) -> None:
    batches = list(batches_by_length(lengths, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
    firsts = [max(lengths[row] for row in batch) for batch in batches]
    assert firsts == sorted(firsts, reverse=True)


@pytest.mark.parametrize("pooling", ["mean", "model"])
def test_a_batch_gives_each_row_what_it_gets_alone(
    pooling: str, make_settings: MakeSettings
) -> None:
    settings = make_settings(pooling=pooling)
    encoder = load_encoder(settings)
    texts = ["", "x", *complaints_with_classes(6)[0]]
    rows = encoder.tokens(texts, settings)
    assert len(set(map(len, rows))) > 3
    together = logits_of(encoder, rows)
    alone = torch.cat([logits_of(encoder, [row]) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert float(together.std(dim=0).min()) > 1e-3  # the random encoder tells texts apart


def test_the_mean_is_over_the_tokens_and_not_over_the_padding(make_settings: MakeSettings) -> None:
    settings = make_settings()
    encoder = load_encoder(settings)
    rows = encoder.tokens(["x", complaints_with_classes(1)[0][0]], settings)
    classifier = encoder.classifier.eval()
    assert classifier.head is not None
    with torch.inference_mode():
        hidden = classifier.encoder(input_ids=torch.tensor([rows[0]])).last_hidden_state
        wanted = classifier.head.double()(hidden[0].double().mean(dim=0))
        classifier.head.float()
    torch.testing.assert_close(logits_of(encoder, rows)[0].double(), wanted, atol=1e-5, rtol=0)


def test_complaints_are_cut_at_the_longest(make_settings: MakeSettings) -> None:
    settings = make_settings(max_tokens=9)
    encoder = load_encoder(settings)
    short, long = encoder.tokens(["x", " ".join(["word"] * 50)], settings)
    assert len(long) == 9
    assert len(short) < 9
    assert encoder.tokens([], settings) == []


def test_every_text_can_be_read(make_settings: MakeSettings) -> None:
    settings = make_settings()
    encoder = load_encoder(settings)
    texts = ["", "\ud83d", "a \udcff b", "\U0001f915", "\x00\u200f", "?" * 1000]
    assert all(0 < len(row) <= settings.max_tokens for row in encoder.tokens(texts, settings))


def test_a_text_without_any_token_is_one_padding_token(make_settings: MakeSettings) -> None:
    settings = make_settings()
    encoder = load_encoder(settings)
    encoder.tokenizer.backend_tokenizer.post_processor = None
    assert encoder.tokens([""], settings) == [[encoder.padding]]


@pytest.mark.parametrize("pooling", ["mean", "model"])
@pytest.mark.parametrize("frozen", ["none", "embeddings", "body"])
def test_what_is_frozen_is_not_trained(
    pooling: str, frozen: str, make_settings: MakeSettings
) -> None:
    classifier = load_encoder(make_settings(pooling=pooling, frozen=frozen)).classifier
    names = set(classifier.trained())
    heads = {name for name in names if not classifier.of_body(name)}
    assert {name.split(".")[-1] for name in heads} == {"weight", "bias"}
    assert len(heads) == 2
    body = names - heads
    assert bool(body) is (frozen != "body")
    assert any("embeddings" in name for name in body) is (frozen == "none")
    # The pooler is read by the model's own head only.
    assert any("pooler" in name for name in body) is (pooling == "model" and frozen != "body")
