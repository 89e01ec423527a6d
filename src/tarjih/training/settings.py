"""Settings of a training run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tarjih.models.lora import LoraSettings
from tarjih.settings import Settings


class TrainingSettings(Settings):
    """How a model is fine-tuned."""

    epochs: float = Field(default=1.0, gt=0, description="passes over the training examples")
    max_steps: int | None = Field(
        default=None, ge=1, description="optimizer steps after which to stop, whatever `epochs` is"
    )
    method: Literal["lora", "full", "qlora"] = Field(
        default="lora",
        description="lora: adapters on a frozen model; full: every weight of the model; qlora: "
        "adapters on a model in 4 bits, on a CUDA GPU, with pip install 'tarjih[qlora]'",
    )
    batch_size: int = Field(
        default=8, ge=1, description="examples in one forward pass on one device, at most"
    )
    group_by_length: bool = Field(
        default=False,
        description="let examples of like length share optimizer steps: less padding where the "
        "architecture cannot take rows end to end (BLOOM, LFM2), but less varied steps",
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="tokens in one forward pass on one device, padding included, at most; short "
        "examples then share larger batches, up to batch_size, and examples of like length share "
        "steps; null: no limit",
    )
    accumulation_steps: int = Field(
        default=1, ge=1, description="forward passes in one optimizer step"
    )
    learning_rate: float = Field(default=2e-4, gt=0, description="peak, per optimizer step")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="how the learning rate goes after the warm-up"
    )
    warmup_share: float = Field(
        default=0.05, ge=0, lt=1, description="share of the steps in which the rate rises"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's decay per step")
    max_gradient_norm: float = Field(
        default=1.0, ge=0, description="gradients are clipped to this norm; 0 clips none"
    )
    max_tokens: int = Field(
        default=512, ge=16, description="longest example, prompt and response, in tokens"
    )
    long_responses: Literal["stop", "drop"] = Field(
        default="stop",
        description="what to do when a response alone exceeds max_tokens: stop before training "
        "and name them, or leave those examples out and count them",
    )
    validate_every: int | None = Field(
        default=None,
        ge=1,
        description="optimizer steps between measurements of the validation loss; "
        "null: four times in a run",
    )
    validation_examples: int = Field(
        default=64, ge=0, description="examples the validation loss is measured on; 0: none"
    )
    checkpoint_every: int = Field(
        default=25, ge=1, description="optimizer steps between checkpoints"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="recompute activations in the backward pass: less memory, slower"
    )
    report_to: list[str] = Field(
        default=["tensorboard"],
        description="trackers of the curves: tensorboard (files in the run's folder), wandb, "
        "mlflow and others that Transformers knows",
    )
    lora: LoraSettings = Field(
        default_factory=LoraSettings, description="the adapters of lora and qlora"
    )
