"""SFTTrainer with the weighted loss takes our own trainer's steps and, unweighted, TRL's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback, TrainingArguments
from trl import SFTConfig, SFTTrainer

from tarjih.errors import DataError, SettingsError
from tarjih.models.load import LoadedModel
from tarjih.training.collate import WeightedCollator, WeightsBeside
from tarjih.training.trainer import SeverityWeightedTrainer
from tarjih.training.weighted_loss import SeverityWeightedLoss
from training.paths import InFloat64
from training.test_trainer import GradientRecorder
from training.test_weighted_loss import naive, rows

TinyModel = Callable[..., LoadedModel]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing. is deprecated:FutureWarning"),
]
SHARED: dict[str, Any] = {
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 3,
    "gradient_accumulation_steps": 2,
    "max_steps": 5,  # the third has two examples only
    "learning_rate": 1e-2,
    "max_grad_norm": 0,
    "logging_steps": 1,
    "save_strategy": "no",
    "disable_tqdm": True,
    "report_to": [],
    "use_cpu": True,
    "dataloader_pin_memory": False,
}
OF_TRL: dict[str, Any] = {"bf16": False, "gradient_checkpointing": False}


class WeightedSFTTrainer(SeverityWeightedLoss, SFTTrainer):  # type: ignore[misc]
    """As examples/trl_sft.py has it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.data_collator = WeightsBeside(self.data_collator)


def taken(trainer: Any) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """The gradients of each step, and the parameters at the end."""
    recorder = GradientRecorder()
    trainer.add_callback(recorder)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    assert len(recorder.steps) == 5
    return recorder.steps, {n: p.detach() for n, p in trainer.model.named_parameters()}


def assert_same(found: Any, wanted: Any, tolerance: float) -> None:
    assert max(float(one.abs().max()) for one in wanted[0][0].values()) > 1e-3
    for ours, theirs in zip([*found[0], found[1]], [*wanted[0], wanted[1]], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def sft(
    kind: type[Any], loaded: LoadedModel, folder: Path, dataset: Dataset, **changes: Any
) -> Any:
    return kind(
        model=loaded.model.double(),
        args=SFTConfig(str(folder), **{**SHARED, **OF_TRL, **changes}),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=loaded.tokenizer,
    )


def without_severities(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "severity"} for row in given]


@pytest.mark.parametrize("architecture", ["qwen2", "gemma3"])
def test_below_trl_the_steps_are_those_of_our_own_trainer(
    architecture: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    given = without_severities(rows())
    below = sft(WeightedSFTTrainer, tiny_model(architecture), tmp_path, Dataset.from_list(given))
    own = SeverityWeightedTrainer(
        model=tiny_model(architecture).model.double(),
        args=TrainingArguments(str(tmp_path), **SHARED),
        train_dataset=Dataset.from_list(given),
        data_collator=WeightedCollator(1),
    )
    with InFloat64():  # Gemma's norms are in float32 otherwise, and round as rows are laid out
        assert_same(taken(below), taken(own), 1e-9)
    for name in ("loss", "plain_loss"):
        logged = [
            [one[name] for one in trainer.state.log_history if "loss" in one]
            for trainer in (below, own)
        ]
        assert logged[0] == pytest.approx(logged[1], rel=1e-6)


def test_unit_weights_take_the_steps_of_trl(tiny_model: TinyModel, tmp_path: Path) -> None:
    ones = [{**row, "weight": 1.0} for row in without_severities(rows())]
    weighted, plain = (
        sft(kind, tiny_model("qwen2"), tmp_path, Dataset.from_list(ones))
        for kind in (WeightedSFTTrainer, SFTTrainer)
    )
    assert_same(taken(weighted), taken(plain), 2e-4)  # TRL's loss is computed in float32


def test_evaluation_is_per_token_of_the_set_below_trl_too(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    given = without_severities(rows())
    trainer = sft(WeightedSFTTrainer, tiny_model("qwen2"), tmp_path, Dataset.from_list(given))
    found = trainer.evaluate()
    wanted = naive(tiny_model("qwen2").model.double(), given)
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, rel=1e-9)


def test_weights_stay_with_their_rows_through_trls_preparation(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    prompts = ["a", "b " * 80, "c", "d", "e"]  # the second is left nothing to learn from
    dataset = Dataset.from_dict(
        {
            "prompt": [f"{prompt}: " for prompt in prompts],
            "completion": ["x", "y", "zz", "w", "v v"],
            "weight": [1.0, 2.0, 3.0, 4.0, 5.0],
        }
    )
    loaded = tiny_model("qwen2")
    trainer = sft(
        WeightedSFTTrainer, loaded, tmp_path, dataset, max_length=40, shuffle_dataset=True
    )
    seen: dict[str, float] = {}
    for batch in trainer.get_train_dataloader():
        for ids, labels, weight in zip(
            batch["input_ids"], batch["labels"], batch["weights"], strict=True
        ):
            text = loaded.tokenizer.decode(ids).replace("<bos>", "").replace("<pad>", "")
            learnt = loaded.tokenizer.decode(labels[labels != -100])
            assert text.endswith(learnt)
            seen[text] = float(weight)
    assert seen == {"a: x<eos>": 1, "c: zz<eos>": 3, "d: w<eos>": 4, "e: v v<eos>": 5}


def test_rows_that_hold_several_examples_are_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    given = Dataset.from_list(without_severities(rows()))
    flat = sft(
        WeightedSFTTrainer, tiny_model("qwen2"), tmp_path, given, padding_free=True, max_length=None
    )
    with pytest.raises(DataError, match="examples that share a row"):
        flat.train()
    packed = sft(WeightedSFTTrainer, tiny_model("qwen2"), tmp_path, given, packing=True)
    with pytest.raises(KeyError, match="weight"):
        packed.train()


def test_trls_other_loss_and_a_lost_collator_are_refused(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    given = Dataset.from_list(without_severities(rows()))
    with pytest.raises(SettingsError, match="leave loss_type at its default"):
        sft(WeightedSFTTrainer, tiny_model("qwen2"), tmp_path, given, loss_type="dft")

    class Forgetful(SeverityWeightedLoss, SFTTrainer):  # type: ignore[misc]
        pass

    with pytest.raises(DataError, match="batches carry no weights"):
        sft(Forgetful, tiny_model("qwen2"), tmp_path, given).train()
