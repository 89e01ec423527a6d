"""What the loss does in a trainer beside its steps: evaluation, columns, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainingArguments

from tarjih.errors import DataError, SettingsError
from tarjih.models.load import LoadedModel
from tarjih.training.collate import WeightedCollator
from tarjih.training.trainer import SeverityWeightedTrainer

from .conftest import make_examples

TinyModel = Callable[..., LoadedModel]
WEIGHTS = (0.5, 1.5, 0.75, 1.25)  # float32 holds them


def rows(count: int = 10) -> list[dict[str, Any]]:
    """Examples as a user has them; every fifth without a known severity."""
    found = []
    for index, one in enumerate(make_examples(count)):
        row: dict[str, Any] = {
            "input_ids": [*one.prompt_ids, *one.response_ids],
            "labels": [-100] * len(one.prompt_ids) + one.response_ids,
            "weight": WEIGHTS[index % 4],
        }
        found.append(row if index % 5 == 4 else {**row, "severity": index % 3})
    return found


def trainer_of(model: Any, folder: Path, **changes: Any) -> SeverityWeightedTrainer:
    options = {
        name: changes.pop(name)
        for name in ("compute_metrics", "compute_loss_func", "data_collator", "eval_dataset")
        if name in changes
    }
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_eval_batch_size": 4,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        **changes,
    }
    trainer = SeverityWeightedTrainer(
        model=model,
        args=TrainingArguments(**arguments),
        train_dataset=rows(),
        **{"data_collator": WeightedCollator(1), **options},
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def naive(model: Any, given: list[dict[str, Any]]) -> dict[str, float]:
    """Losses per token of a set, from the model's own logits, one example at a time."""
    sums: dict[str, list[float]] = {}
    names = ["plain_loss_non_critical", "plain_loss_neutral", "plain_loss_critical"]
    for row in given:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        labels = torch.tensor(row["labels"][1:])
        loss = torch.nn.functional.cross_entropy(
            logits.double(), labels, ignore_index=-100, reduction="sum"
        ).item()
        tokens = int((labels != -100).sum())
        values = {"loss": loss * row["weight"], "plain_loss": loss}
        if "severity" in row:
            values[names[row["severity"]]] = loss
        for name, value in values.items():
            total = sums.setdefault(name, [0.0, 0.0])
            sums[name] = [total[0] + value, total[1] + tokens]
    return {f"eval_{name}": loss / tokens for name, (loss, tokens) in sums.items()}


@pytest.mark.parametrize("size", [1, 4, 10])
@pytest.mark.parametrize("as_dataset", [False, True])
def test_evaluation_gives_losses_per_token_of_the_whole_set(
    size: int, as_dataset: bool, tiny_model: TinyModel, tmp_path: Path
) -> None:
    model = tiny_model("qwen2").model.double()
    given = rows()
    if as_dataset:  # a column of datasets has a value in each row
        for row in given:
            row.setdefault("severity", 3)
    trainer = trainer_of(
        model,
        tmp_path,
        per_device_eval_batch_size=size,
        eval_dataset=Dataset.from_list(given) if as_dataset else given,
    )
    found = trainer.evaluate()
    wanted = naive(model, rows())
    assert len(wanted) == 5
    assert {key: found[key] for key in found if "loss" in key} == pytest.approx(wanted, rel=1e-9)
    assert trainer.state.log_history[-1]["eval_plain_loss"] == found["eval_plain_loss"]
    named = trainer.evaluate({"held_out": given[:3]})  # type: ignore[dict-item]
    assert named["eval_held_out_loss"] == pytest.approx(naive(model, given[:3])["eval_loss"])


def test_weights_of_tokens_are_evaluated_too(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = tiny_model("qwen2").model.double()

    def of_tokens(given: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = WeightedCollator(1)(given)
        batch["weights"] = batch["weights"].unsqueeze(1).repeat(1, batch["labels"].shape[1])
        return batch

    trainer = trainer_of(model, tmp_path, data_collator=of_tokens, eval_dataset=rows())
    assert trainer.evaluate()["eval_loss"] == pytest.approx(naive(model, rows())["eval_loss"])


def test_evaluation_during_training_leaves_the_logged_training_losses_alone(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    histories = []
    for strategy in ("no", "steps"):
        torch.manual_seed(0)
        trainer = trainer_of(
            tiny_model("qwen2").model,
            tmp_path,
            max_steps=4,
            logging_steps=2,
            eval_strategy=strategy,
            eval_steps=1,
            save_strategy="no",
            eval_dataset=rows(),
        )
        trainer.train()
        logged = [entry for entry in trainer.state.log_history if "plain_loss" in entry]
        histories.append([(entry["loss"], entry["plain_loss"]) for entry in logged])
    assert len(histories[0]) == 2
    assert histories[1] == histories[0]


def test_weights_and_severities_reach_the_loss_with_usual_arguments(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    trainer = trainer_of(
        tiny_model("qwen2").model, tmp_path, max_steps=1, logging_steps=1, save_strategy="no"
    )
    assert trainer.args.remove_unused_columns
    trainer.train()
    (log,) = [entry for entry in trainer.state.log_history if "plain_loss" in entry]
    assert abs(log["loss"] / log["plain_loss"] - 1) > 0.01
    assert "plain_loss_critical" in log


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"compute_metrics": lambda prediction: {}}, "compute_metrics"),
        ({"compute_loss_func": lambda *args, **kwargs: 0}, "compute_loss_func"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor"),
    ],
)
def test_what_would_be_ignored_is_refused(
    change: dict[str, Any], named: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=f"leave {named} at its default"):
        trainer_of(tiny_model("qwen2").model, tmp_path, **change)


def test_several_gpus_in_one_process_are_refused(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)
    with pytest.raises(SettingsError, match=r"2 GPUs.*\n.*accelerate launch"):
        trainer_of(tiny_model("qwen2").model, tmp_path)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (None, "batches carry no weights"),
        ([1.0], r"labels \(2, .*\) but weights \(1,\)"),
        ([[1.0], [1.0]], r"weights \(2, 1\)"),
    ],
)
def test_batches_whose_weights_do_not_fit_are_refused(
    weights: Any, message: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    def without(given: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = WeightedCollator(1)(given)
        del batch["weights"]
        return batch if weights is None else {**batch, "weights": torch.tensor(weights)}

    trainer = trainer_of(
        tiny_model("qwen2").model,
        tmp_path,
        max_steps=1,
        per_device_train_batch_size=2,
        data_collator=without,
    )
    with pytest.raises(DataError, match=message):
        trainer.train()
