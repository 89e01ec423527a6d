from __future__ import annotations

import gc
import importlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tarjih.data.prompt import PromptSettings
from tarjih.models.lora import LoraSettings
from tarjih.progress import Advance, Reporter
from tarjih.training.examples import Example
from tarjih.training.job import TrainingJob
from tarjih.training.settings import TrainingSettings
from tarjih.weighting import Weighting
from tiny_models import FLOAT32, TinyFolder, make_consultations, tiny_folder, tiny_model

__all__ = ["tiny_folder", "tiny_model"]

MakeJob = Callable[..., TrainingJob]


class Recorder(Reporter):
    """Keeps what it hears; stops the work after `stop_after` steps, as Ctrl-C would."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0
        self.open = 0
        self.stop_after = stop_after

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        self.stages.append((name, total))
        self.open += 1
        try:
            yield self._advance
        finally:
            self.open -= 1

    def _advance(self, steps: int) -> None:
        self.done += steps
        if self.stop_after is not None and self.done >= self.stop_after:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def make_examples(
    count: int, *, weight: Callable[[int], float] = lambda index: 1.0
) -> list[Example]:
    """Random token ids of very different lengths; the end token (1) closes each response."""
    draw = random.Random(count)
    return [
        Example(
            [draw.randrange(3, 400) for _ in range(draw.randint(2, 20))],
            [*(draw.randrange(3, 400) for _ in range(draw.randint(1, 9))), 1],
            weight(index),
        )
        for index in range(count)
    ]


@pytest.fixture(scope="session", autouse=True)
def _libraries_are_no_garbage() -> None:
    """Trainer collects garbage at each start; looking through all of torch takes half the time."""
    for name in ("peft", "torch.utils.tensorboard", "transformers.trainer"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def make_job(tiny_folder: TinyFolder) -> MakeJob:
    """A run of 6 steps, with a checkpoint after every third, whatever is not changed."""

    def make(architecture: str = "qwen2", **changes: object) -> TrainingJob:
        training: dict[str, object] = {
            "max_steps": 6,
            "epochs": 2,
            "batch_size": 2,
            "accumulation_steps": 2,
            "learning_rate": 1e-2,
            "checkpoint_every": 3,
            "validation_examples": 3,
            "lora": LoraSettings(rank=2, dropout=0.1),
            "max_tokens": 128,
        }
        training |= {key: changes.pop(key) for key in list(changes) if key in _TRAINING}
        values: dict[str, object] = {
            "model": str(tiny_folder(architecture)),
            "train": make_consultations(12),
            "validation": make_consultations(5),
            "weighting": Weighting(alpha=0.5, beta=1, gamma=1.5),
            "seed": 1,
            "prompt": PromptSettings(),
            "model_settings": FLOAT32,
            "training": TrainingSettings.model_validate(training),
            **changes,
        }
        return TrainingJob(**values)  # type: ignore[arg-type]  # the point is to vary any field

    return make


_TRAINING = set(TrainingSettings.model_fields)
