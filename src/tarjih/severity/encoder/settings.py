"""Settings of the annotator that fine-tunes an encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tarjih.severity.cross_fitted import CrossFittedSettings
from tarjih.severity.encoder.texts import Preprocessing, preprocessing_of

ScoringPrecision = Literal["float32", "bfloat16", "int8-dynamic"]


class EncoderSettings(CrossFittedSettings):
    """How an encoder is fine-tuned on labels, and how it scores."""

    kind: Literal["encoder"] = Field("encoder", description="which annotator reads the complaints")
    model: str = Field(
        "packaged:e5-small",
        min_length=1,
        description="encoder to fine-tune: a packaged: name, a folder, or a name on the hub such "
        "as aubmindlab/bert-base-arabertv02",
    )
    preprocessing: Literal["auto", "none", "e5", "arabert"] = Field(
        "auto",
        description="form of the text: e5 puts 'query: ' before it, arabert does what that model "
        "was pretrained on, none leaves it; auto goes by the model's name",
    )
    max_tokens: int = Field(
        128, ge=8, description="tokens of a complaint that are read; the rest is cut off"
    )
    pooling: Literal["auto", "mean", "model"] = Field(
        "auto",
        description="what is classified: the mean of the last layer's vectors, or whatever the "
        "model's own classification head takes; auto: mean for e5, else model",
    )
    frozen: Literal["none", "embeddings", "body"] = Field(
        "embeddings",
        description="what keeps its pretrained weights: nothing, the embeddings of tokens, or "
        "everything below the classification head",
    )
    objective: Literal["cross_entropy", "ordinal"] = Field(
        "cross_entropy",
        description="cross_entropy takes a label at its word; ordinal gives each severity a share "
        "that falls with its squared distance from the label",
    )
    ordinal_sharpness: float = Field(
        1.5,
        gt=0,
        description="of the ordinal objective: a severity d steps away has exp(-sharpness * d^2) "
        "times the label's share",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of each label that is spread over all three severities"
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: each severity counts as much as the others, however rare"
    )
    learning_rate: float = Field(5e-5, gt=0, description="highest, of the encoder (AdamW)")
    head_learning_rate: float = Field(
        1e-3, gt=0, description="highest, of the classification head, which begins as noise"
    )
    epochs: int = Field(4, ge=1, description="passes over the complaints")
    batch_size: int = Field(16, ge=1, description="complaints in an optimizer step")
    warmup_share: float = Field(
        0.1, ge=0, lt=1, description="share of the steps in which the rate rises; then it falls"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's, on weight matrices")
    max_gradient_norm: float = Field(1.0, gt=0, description="longer gradients are shortened to it")
    patience: int = Field(
        0,
        ge=0,
        description="evaluations without a lower validation loss before training stops early, "
        "and the best weights are taken; 0 trains on all complaints to the end",
    )
    validation_share: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="share of the fitted complaints that early stopping is judged on, about; "
        "near-duplicates stay on one side",
    )
    evaluations_per_epoch: int = Field(
        2, ge=1, description="times an epoch that the validation loss is measured"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="number format of the multiplications in training; auto: bfloat16 where the "
        "GPU or CPU has it, else float32",
    )
    scoring_precision: ScoringPrecision = Field(
        "float32",
        description="number format of scoring; int8-dynamic only on a CPU",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the encoder runs; auto: a GPU where there is one"
    )
    trust_remote_code: bool = Field(
        False,
        description="run Python code that the model's author put beside the weights; leave it off "
        "unless you have read that code",
    )

    @property
    def text_form(self) -> Preprocessing:
        """The form of the text, with `auto` resolved."""
        return preprocessing_of(self.model) if self.preprocessing == "auto" else self.preprocessing

    @property
    def averages(self) -> bool:
        """Whether the mean of the last layer's vectors is classified, with `auto` resolved."""
        e5 = preprocessing_of(self.model) == "e5"
        return e5 if self.pooling == "auto" else self.pooling == "mean"
