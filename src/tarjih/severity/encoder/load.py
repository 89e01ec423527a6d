"""Loading an encoder and its tokenizer, with errors that a person can act on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from tarjih.errors import ModelError
from tarjih.files import sha256_of, sha256_of_file
from tarjih.models.load import ModelSettings, chosen_hardware
from tarjih.models.packaged import resolve_model
from tarjih.records import SEVERITIES
from tarjih.severity.encoder.classifier import LoadedEncoder, SeverityClassifier
from tarjih.severity.encoder.settings import EncoderSettings

_REMEDY = (
    "name an encoder of the hub such as aubmindlab/bert-base-arabertv02, which is downloaded on "
    "first use, a folder that holds one, or packaged:e5-small"
)
# Their positions begin behind the padding's id, so that the first (two, as it is 1) are never read.
_BEHIND_PADDING = {"camembert", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"}
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError)


def load_encoder(settings: EncoderSettings, folder: Path | None = None) -> LoadedEncoder:
    """Load the settings' encoder in float32, with a classification head, frozen as they say.

    The weights of a new head come from torch's random numbers. Weights are only read from
    safetensors.

    Args:
        settings: which encoder, and what of it is trained.
        folder: read it from there instead, as `save_pretrained` wrote it.

    Raises:
        ModelError: when there is no such model, it is no encoder, it has no tokenizer, its weights
            cannot be read, or it reads fewer tokens than the settings want.
    """
    place = resolve_model(settings.model) if folder is None else folder
    config = _read_config(place, settings)
    tokenizer = _read_tokenizer(place, settings)
    _check_lengths(config, tokenizer, settings)
    classifier = _read_classifier(place, settings)
    classifier.freeze(settings.frozen)
    device = torch.device(hardware(settings)["device"])
    return LoadedEncoder(classifier.to(device), tokenizer, _weights_of(place, config), device)


def hardware(settings: EncoderSettings) -> dict[str, str]:
    """The device, and the precision of training, that `auto` comes to on this machine.

    Raises:
        ModelError: when a GPU is asked for and there is none.
    """
    return chosen_hardware(ModelSettings(precision=settings.precision, device=settings.device))


def pretrained_weights(settings: EncoderSettings) -> str:
    """What the pretrained weights are known by: a SHA-256 of a folder's, or the hub's commit.

    Raises:
        ModelError: when there is no such model, or it is no encoder.
    """
    place = resolve_model(settings.model)
    return _weights_of(place, _read_config(place, settings))


def _weights_of(place: Path | str, config: Any) -> str:
    if isinstance(place, Path):
        return sha256_of([sha256_of_file(file) for file in sorted(place.glob("*.safetensors"))])
    return str(getattr(config, "_commit_hash", None) or "unknown")


def _read_config(place: Path | str, settings: EncoderSettings) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto as known

    if isinstance(place, Path) and not (place / "config.json").is_file():
        raise ModelError(
            "this folder holds no model (config.json is not there)", file=place, remedy=_REMEDY
        )
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=settings.trust_remote_code)
    except _UNREADABLE as error:
        raise _cannot_read("configuration", settings, error) from None
    writes = config.model_type in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    fills_gaps = config.model_type in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if (writes and not fills_gaps) or getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"a model of type {config.model_type} writes text; it is no encoder",
            file=settings.model,
            remedy=_REMEDY,
        )
    return config


def _read_tokenizer(place: Path | str, settings: EncoderSettings) -> Any:
    from transformers import AutoTokenizer

    names = ("tokenizer*", "vocab.*", "*.model")
    if isinstance(place, Path) and not any(any(place.glob(name)) for name in names):
        raise ModelError(
            "this model folder has no tokenizer",
            file=place,
            remedy="copy tokenizer.json and tokenizer_config.json of the same model into it",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            place, trust_remote_code=settings.trust_remote_code
        )
    except _UNREADABLE as error:
        raise _cannot_read("tokenizer", settings, error) from None
    if tokenizer.pad_token_id is None:
        raise ModelError(
            "the tokenizer has no padding token, so this is not an encoder that can be used",
            file=settings.model,
            remedy="set pad_token in its tokenizer_config.json",
        )
    return tokenizer


def _check_lengths(config: Any, tokenizer: Any, settings: EncoderSettings) -> None:
    positions = getattr(config, "max_position_embeddings", None) or settings.max_tokens
    if config.model_type in _BEHIND_PADDING:
        positions -= int(config.pad_token_id or 0) + 1
    longest = min(int(positions), int(tokenizer.model_max_length))
    if settings.max_tokens > longest:
        raise ModelError(
            f"this encoder reads at most {longest} tokens, but max_tokens is {settings.max_tokens}",
            file=settings.model,
            remedy=f"set max_tokens to {longest} or less",
        )


def _read_classifier(place: Path | str, settings: EncoderSettings) -> SeverityClassifier:
    from transformers import AutoModel, AutoModelForSequenceClassification

    options: dict[str, Any] = {
        "dtype": torch.float32,
        "use_safetensors": True,
        "trust_remote_code": settings.trust_remote_code,
        "output_loading_info": True,
    }
    kind: Any = AutoModel
    if not settings.averages:
        names = {place: str(severity) for place, severity in enumerate(SEVERITIES)}
        kind = AutoModelForSequenceClassification
        # A model may come with a head for other classes: that one is replaced.
        options |= {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: place for place, name in names.items()},
            "ignore_mismatched_sizes": True,
        }
    try:
        with _quiet():  # that the new head is not in the files is no news
            encoder, report = kind.from_pretrained(place, **options)
    except _UNREADABLE as error:
        raise _cannot_read("model", settings, error) from None
    averages = settings.averages
    classifier = SeverityClassifier.averaging(encoder) if averages else SeverityClassifier(encoder)
    _check_weights(classifier, report, settings)
    return classifier


def _check_weights(classifier: SeverityClassifier, report: Any, settings: EncoderSettings) -> None:
    # Transformers fills what it does not find with random numbers.
    mismatched = [key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]]
    absent = sorted(
        key
        for key in (*report["missing_keys"], *mismatched)
        if classifier.of_body(f"encoder.{key}") and "pooler" not in key
    )
    if absent:
        raise ModelError(
            f"{len(absent)} weights of the encoder are not in its files, or have another shape; "
            f"the first is {absent[0]}",
            file=settings.model,
            remedy=_REMEDY,
        )


def _cannot_read(what: str, settings: EncoderSettings, error: Exception) -> ModelError:
    lines = str(error).strip().splitlines()
    return ModelError(
        f"the encoder's {what} cannot be read: {lines[0] if lines else type(error).__name__}",
        file=settings.model,
        remedy=_REMEDY,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging as speech

    before, bars = speech.get_verbosity(), speech.is_progress_bar_enabled()
    speech.set_verbosity(logging.ERROR)
    speech.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        speech.set_verbosity(before)
        if bars:
            speech.enable_progress_bar()  # type: ignore[no-untyped-call]
