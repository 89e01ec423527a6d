"""Logits of any number of complaints from a fine-tuned encoder, and the files that keep it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tarjih.errors import ModelError
from tarjih.files import read_json, write_json
from tarjih.models.packaged import PREFIX
from tarjih.records import SEVERITIES
from tarjih.severity.calibration import Floats
from tarjih.severity.encoder.classifier import (
    LoadedEncoder,
    SeverityClassifier,
    batches_by_length,
    pad,
)
from tarjih.severity.encoder.int8 import with_int8_layers
from tarjih.severity.encoder.load import load_encoder
from tarjih.severity.encoder.settings import EncoderSettings

ABOUT = "encoder.json"
TRAINED = "trained.safetensors"
# On a CPU, larger batches are no faster; on a GPU, smaller ones are much slower.
BATCH_TOKENS = {"cpu": 1024, "cuda": 32768}
_WINDOW = 8192  # distinct complaints whose tokens are in memory at a time


class EncoderScorer:
    """A fine-tuned encoder.

    Args:
        encoder: with its fine-tuned weights, in float32.
        settings: which form of the text, and the precision of scoring.

    Raises:
        ModelError: when 8-bit integers are wanted on a GPU.
    """

    def __init__(self, encoder: LoadedEncoder, settings: EncoderSettings) -> None:
        self.encoder = encoder
        self._settings = settings
        self._model: nn.Module = encoder.classifier.eval()
        if settings.scoring_precision == "int8-dynamic":
            if encoder.device.type != "cpu":
                raise ModelError(
                    "8-bit integers are for scoring on a CPU",
                    remedy="set scoring_precision to bfloat16, or device to cpu",
                )
            self._model = with_int8_layers(encoder.classifier)

    def logits(self, complaints: Sequence[str]) -> Floats:
        """See `Scorer.logits`. Each distinct text is read once."""
        places: dict[str, int] = {}
        of_row = np.asarray([places.setdefault(text, len(places)) for text in complaints], np.int64)
        distinct = list(places)
        found = np.zeros((len(distinct), len(SEVERITIES)))
        for start in range(0, len(distinct), _WINDOW):
            window = self.encoder.tokens(distinct[start : start + _WINDOW], self._settings)
            for rows, logits in self._of_tokens(window):
                found[[start + row for row in rows]] = logits
        return found[of_row]

    def _of_tokens(self, tokens: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Floats]]:
        device = self.encoder.device
        half = self._settings.scoring_precision == "bfloat16"
        lengths = [len(ids) for ids in tokens]
        for rows in batches_by_length(lengths, BATCH_TOKENS[device.type]):
            batch = pad([tokens[row] for row in rows], self.encoder.padding, device)
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
                logits: Tensor = self._model(*batch)
            yield rows, logits.double().cpu().numpy()

    def write(self, folder: Path) -> None:
        """Write its files.

        Of a packaged encoder only what was trained is kept, as everyone has the rest; of any other
        the whole, with its tokenizer, in the layout of Transformers.
        """
        classifier = self.encoder.classifier
        write_json(
            folder / ABOUT,
            {"model": self._settings.model, "pretrained_weights": self.encoder.weights},
        )
        if not _is_packaged(self._settings):
            classifier.encoder.save_pretrained(folder)
            self.encoder.tokenizer.save_pretrained(folder)
        save_file(_kept(classifier, self._settings), folder / TRAINED)

    @classmethod
    def read(cls, folder: Path, settings: EncoderSettings) -> Self:
        """Read what `write` wrote.

        Raises:
            ModelError: when a packaged encoder is not the one that was fine-tuned.
            ValueError, KeyError, SafetensorError: when a file is damaged.
        """
        _take_own_gpu()
        packaged = _is_packaged(settings)
        with torch.random.fork_rng(devices=[]):  # a new head is drawn before it is read
            encoder = load_encoder(settings, None if packaged else folder)
        about = read_json(folder / ABOUT)
        if packaged and encoder.weights != about["pretrained_weights"]:
            raise ModelError(
                f"{settings.model} is not the one that this annotator was fine-tuned from",
                file=folder,
                remedy="install the version of tarjih it was fitted with, or fit it again",
            )
        kept = _kept(encoder.classifier, settings)
        _fill(kept, load_file(folder / TRAINED))
        return cls(encoder, settings)


def _take_own_gpu() -> None:
    # Processes that `accelerate launch` or `torchrun` started would all take the first GPU.
    place = os.environ.get("LOCAL_RANK", "")
    if place.isdecimal() and torch.cuda.is_available():
        torch.cuda.set_device(int(place) % torch.cuda.device_count())


def _is_packaged(settings: EncoderSettings) -> bool:
    return settings.model.startswith(PREFIX)


def _kept(classifier: SeverityClassifier, settings: EncoderSettings) -> dict[str, Tensor]:
    """The tensors that Transformers does not write, or all trained ones of a packaged encoder."""
    state: dict[str, Any] = dict(classifier.trained())
    return {
        name: tensor.detach()
        for name, tensor in state.items()
        if _is_packaged(settings) or name.startswith("head.")
    }


def _fill(places: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    if {name: t.shape for name, t in tensors.items()} != {n: t.shape for n, t in places.items()}:
        raise ValueError("the weights are not those of this encoder")
    for name, place in places.items():
        place.copy_(tensors[name])
