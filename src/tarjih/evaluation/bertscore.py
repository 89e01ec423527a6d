"""BERTScore F1 (Zhang et al., 2020, arXiv 1904.09675) with any encoder, without baseline rescaling.

The matching is the `bert-score` package's own `bert_cos_score_idf`. The encoder is loaded here and
not by that package's `BERTScorer`, which under transformers 5 and without a network

- dies with "int too big to convert" when a tokenizer states no maximum length,
- dies on an empty text (`build_inputs_with_special_tokens` is gone),
- takes every path that contains "t5" or starts with "scibert" for those models, and
- loads a half-precision checkpoint in half precision.
"""

from __future__ import annotations

import importlib.metadata
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError

from tarjih.errors import ModelError
from tarjih.files import sha256_of, sha256_of_file
from tarjih.settings import Settings

LONGEST_TEXT = 512
"""Tokens of a text that are compared, special tokens included; the rest is cut off."""

_BATCHES_A_CHUNK = 8  # the package keeps every embedding of a call in memory: call it in pieces
_REMEDY = (
    "name an encoder such as bert-base-multilingual-cased, a folder that holds one, or "
    "packaged:e5-small"
)


class BertScoreSettings(Settings):
    """Which encoder compares an answer with the doctor's response, and at which layer."""

    encoder: str = Field(
        "packaged:e5-small",
        min_length=1,
        description="encoder: a packaged: name, a folder, or a name on the hub",
    )
    layer: int | None = Field(
        None,
        ge=1,
        description="layer whose vectors are compared, counted from 1; none means three quarters "
        "of the way up",
    )
    batch_size: int = Field(32, ge=1, description="texts encoded at once")


@dataclass(frozen=True, slots=True)
class BertScoreStatistic:
    """One example: F1 in [-1, 1] (0 when a text is empty), and what had to be done to get it."""

    f1: float
    empty: bool
    truncated: bool


@dataclass(frozen=True, slots=True)
class Encoder:
    """A loaded encoder that gives the vectors of one layer."""

    model: torch.nn.Module
    tokenizer: Any
    layer: int
    longest: int
    fingerprint: str


class _OneLayer(torch.nn.Module):
    """An encoder whose first output is the hidden state of `layer`, whatever its architecture."""

    def __init__(self, model: Any, layer: int) -> None:
        super().__init__()
        self.model = model
        self.layer = layer
        # The layers above are never looked at. Where they are in the usual place, drop them.
        stack = getattr(getattr(model, "encoder", None), "layer", None)
        if isinstance(stack, torch.nn.ModuleList):
            del stack[layer:]

    def forward(
        self, ids: torch.Tensor, attention_mask: torch.Tensor, output_hidden_states: bool = False
    ) -> tuple[torch.Tensor]:
        """Hidden states of the layer, [B, T, D]; bert-score passes `output_hidden_states`."""
        del output_hidden_states
        out = self.model(ids, attention_mask=attention_mask, output_hidden_states=True)
        return (out.hidden_states[self.layer],)


def default_layer(layers: int) -> int:
    """Three quarters of the way up, halves rounded up.

    That is layer 9 of 12, which bert-score tuned on WMT16 for bert-base-multilingual-cased (the
    encoder behind `lang="ar"`, thus the paper's), and layer 5 of 6 as for its distilled models.
    No tuned layer is known for other Arabic encoders.
    """
    return max(1, math.floor(0.75 * layers + 0.5))


def load_encoder(settings: BertScoreSettings) -> Encoder:
    """Load the encoder from a folder, the hub's cache or a package, in float32, from safetensors.

    Raises:
        ModelError: when it cannot be found or read, or is no encoder that BERTScore can use.
    """
    from transformers import AutoModel, AutoTokenizer

    from tarjih.models import resolve_model

    place = str(resolve_model(settings.encoder))
    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
        with _quiet():  # the pooler is missing from most checkpoints and is never used
            model, report = AutoModel.from_pretrained(
                place, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise ModelError(
            f"the encoder {settings.encoder!r} cannot be read: {_first_line(error)}",
            remedy=_REMEDY,
        ) from None
    _check_weights(report, settings.encoder)
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    _check_tokenizer(tokenizer, settings.encoder)
    layer = _layer_of(model.config, settings)
    longest = min(LONGEST_TEXT, int(tokenizer.model_max_length), _positions(model))
    # bert-score truncates to this value; a tokenizer that states none has 10^30 here.
    tokenizer.model_max_length = longest
    fingerprint = _fingerprint(Path(place), model.config)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Encoder(
        _OneLayer(model, layer).eval().to(device), tokenizer, layer, longest, fingerprint
    )


def bertscore_statistics(
    answers: Sequence[str],
    references: Sequence[str],
    encoder: Encoder,
    *,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[BertScoreStatistic]:
    """Compare each answer with its reference.

    A pair of which one side is empty (no token besides the special ones) never reaches the encoder
    and scores 0.

    Args:
        answers: N texts.
        references: N texts.
        encoder: from `load_encoder`.
        batch_size: texts encoded at once. It changes scores by rounding only, as long as vectors
            do not point away from each other, which those of trained encoders do not: bert-score
            lets padding, whose similarity is 0, win over negative similarities.
        progress: called with (pairs done, N).
    """
    sizes = [
        (_size(answer, encoder.tokenizer), _size(reference, encoder.tokenizer))
        for answer, reference in zip(answers, references, strict=True)
    ]
    full = [index for index, ((inner, _), (other, _)) in enumerate(sizes) if inner and other]
    scores = dict.fromkeys(range(len(sizes)), 0.0)
    chunk = _BATCHES_A_CHUNK * batch_size
    for start in range(0, len(full), chunk):
        part = full[start : start + chunk]
        found = _f1([answers[i] for i in part], [references[i] for i in part], encoder, batch_size)
        scores.update(zip(part, found, strict=True))
        if progress is not None:
            progress(len(sizes) - len(full) + start + len(part), len(sizes))
    return [
        BertScoreStatistic(
            f1=scores[index],
            empty=not (inner and other),
            truncated=max(all_of_one, all_of_other) > encoder.longest,
        )
        for index, ((inner, all_of_one), (other, all_of_other)) in enumerate(sizes)
    ]


def bertscore(statistics: Sequence[BertScoreStatistic]) -> float:
    """Mean F1 × 100 over all pairs, those with an empty text included."""
    return 100.0 * math.fsum(one.f1 for one in statistics) / len(statistics)


def bertscore_signature(settings: BertScoreSettings, encoder: Encoder) -> str:
    """What a BERTScore depends on; scores with different signatures must not be compared."""
    path = Path(settings.encoder)
    name = path.name if path.is_dir() else settings.encoder
    parts = {
        "encoder": name,
        "layer": encoder.layer,
        "weights": encoder.fingerprint,
        "max_tokens": encoder.longest,
        "idf": "no",
        "rescale": "no",
        "empty": "scores 0",
        "bert-score": importlib.metadata.version("bert-score"),
        "transformers": importlib.metadata.version("transformers"),
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())


def _f1(
    answers: list[str], references: list[str], encoder: Encoder, batch_size: int
) -> list[float]:
    from bert_score.utils import bert_cos_score_idf

    # Special tokens may be matched against, but are not themselves counted, as in `BERTScorer`.
    weight: defaultdict[int, float] = defaultdict(lambda: 1.0)
    weight[encoder.tokenizer.cls_token_id] = 0.0
    weight[encoder.tokenizer.sep_token_id] = 0.0
    device = next(encoder.model.parameters()).device
    found = bert_cos_score_idf(
        encoder.model,
        references,
        answers,
        encoder.tokenizer,
        weight,
        batch_size=batch_size,
        device=device,
    )
    return [float(value) for value in found[:, 2]]


def _size(text: str, tokenizer: Any) -> tuple[int, int]:
    """(tokens without the special ones, all tokens), before truncation."""
    if not text.strip():
        return 0, 0
    # bert-score strips a text before it encodes it.
    ids = tokenizer(text.strip(), add_special_tokens=True, verbose=False)["input_ids"]
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id}
    return sum(token not in special for token in ids), len(ids)


def _check_weights(report: Any, name: str) -> None:
    # transformers fills what it does not find with random numbers, and the scores look real.
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise ModelError(
            f"{len(missing)} weights of the encoder {name!r} are not in its files, the first of "
            f"them {missing[0]}",
            remedy=_REMEDY,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging as speech

    before = speech.get_verbosity()
    speech.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        speech.set_verbosity(before)


def _check_tokenizer(tokenizer: Any, name: str) -> None:
    missing = [
        kind for kind in ("pad", "cls", "sep") if getattr(tokenizer, f"{kind}_token_id") is None
    ]
    if missing:
        raise ModelError(
            f"the tokenizer of {name!r} has no {' and no '.join(missing)} token, so this is not an "
            "encoder that BERTScore can use",
            remedy=_REMEDY,
        )


def _layer_of(config: Any, settings: BertScoreSettings) -> int:
    layers = getattr(config, "num_hidden_layers", None)
    if not isinstance(layers, int) or layers < 1:
        raise ModelError(
            f"the encoder {settings.encoder!r} does not say how many layers it has", remedy=_REMEDY
        )
    layer = settings.layer or default_layer(layers)
    if layer > layers:
        raise ModelError(
            f"layer {layer} was asked for, but the encoder {settings.encoder!r} has {layers}",
            remedy=f"set the layer to a number from 1 to {layers}, or leave it out",
        )
    return layer


def _positions(model: Any) -> int:
    """How many tokens the position table takes; encoders without one take any number."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if not isinstance(table, torch.nn.Embedding):
        return LONGEST_TEXT
    # RoBERTa and its kin start to count behind the padding index.
    taken = 0 if table.padding_idx is None else table.padding_idx + 1
    return table.num_embeddings - taken


def _fingerprint(folder: Path, config: Any) -> str:
    """The hub's commit, or twelve digits of the hash of the weight files of a folder."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if files:
        return sha256_of([sha256_of_file(file) for file in files])[:12]
    return str(getattr(config, "_commit_hash", None) or "unknown")[:12]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
