"""The annotator that fine-tunes a pretrained encoder; torch is loaded when it fits or scores."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

from tarjih.records import Severity
from tarjih.severity.annotator import NO_WORK, AnnotatorSettings, Work
from tarjih.severity.calibration import Integers
from tarjih.severity.cross_fitted import CrossFittedAnnotator, Scorer
from tarjih.severity.encoder.settings import EncoderSettings
from tarjih.severity.encoder.texts import needs_segmentation


class EncoderAnnotator(CrossFittedAnnotator[EncoderSettings]):
    """A fine-tuned encoder with a classification head."""

    kind: ClassVar[str] = "encoder"
    settings_class: ClassVar[type[AnnotatorSettings]] = EncoderSettings

    @classmethod
    def fit(
        cls,
        complaints: Sequence[str],
        labels: Sequence[Severity],
        settings: EncoderSettings,
        work: Work = NO_WORK,
    ) -> Self:
        """See `CrossFittedAnnotator.fit`.

        Raises:
            ModelError: when the encoder cannot be used.
        """
        if needs_segmentation(settings.model):
            work.reporter.warn(
                f"{settings.model} was pretrained on words that Farasa took apart, which is not "
                "done here: take aubmindlab/bert-base-arabertv02, which reads whole words"
            )
        return super().fit(complaints, labels, settings, work)

    @classmethod
    def fit_scorer(
        cls, complaints: Sequence[str], classes: Integers, settings: EncoderSettings, work: Work
    ) -> Scorer:
        """Fine-tune, from the checkpoint in the work's folder where there is one."""
        from tarjih.severity.encoder.fine_tune import fine_tune

        return fine_tune(complaints, classes, settings, work)

    @classmethod
    def read_scorer(cls, folder: Path, settings: EncoderSettings) -> Scorer:
        """See `CrossFittedAnnotator.read_scorer`."""
        from tarjih.severity.encoder.scorer import EncoderScorer

        return EncoderScorer.read(folder, settings)

    @classmethod
    def plan(
        cls, complaints: Sequence[str], labels: Sequence[Severity], settings: EncoderSettings
    ) -> dict[str, Any]:
        """With the pretrained weights, the hardware, and the versions that decide the weights."""
        from tarjih.severity.encoder.load import hardware, pretrained_weights

        return {
            **super().plan(complaints, labels, settings),
            "pretrained_weights": pretrained_weights(settings),
            "hardware": hardware(settings),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers")},
        }
