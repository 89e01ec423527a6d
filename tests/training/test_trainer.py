from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainerCallback

from tarjih.errors import ModelError, WorkFailedError
from tarjih.models.load import LoadedModel
from tarjih.models.lora import LoraSettings, add_lora
from tarjih.models.packing import ROW_LENGTHS
from tarjih.training.batches import Step, plan_steps
from tarjih.training.collate import WeightedCollator
from tarjih.training.examples import Example
from tarjih.training.trainer import SeverityWeightedTrainer
from tiny_models import move_adapters

from .conftest import make_examples
from .paths import cpu_arguments

TinyModel = Callable[..., LoadedModel]
State = dict[str, Tensor]


class GradientRecorder(TrainerCallback):
    """The gradients of each optimizer step, as the optimizer meets them."""

    def __init__(self) -> None:
        self.steps: list[State] = []

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        self.steps.append(
            {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        )


class PlainTrainer(Trainer):
    """Transformers' own loss on the labels; it knows nothing of weights."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)


def plain_collator(examples: Sequence[Example]) -> dict[str, Tensor]:
    batch = WeightedCollator(1)(examples)
    del batch["weights"]
    return batch


def run(
    kind: type[Trainer],
    loaded: LoadedModel,
    folder: Path,
    examples: Sequence[Example],
    *,
    batch_size: int = 8,
    accumulation: int = 1,
    steps: int = 1,
    learning_rate: float = 1e-2,
    planned: Sequence[Step] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> tuple[Trainer, list[State]]:
    """Train from the same moved adapters; the trainer and each step's gradients."""
    torch.manual_seed(0)
    model = add_lora(loaded.model, LoraSettings(rank=2, dropout=0))
    move_adapters(model)
    recorder = GradientRecorder()
    weighted = issubclass(kind, SeverityWeightedTrainer)
    more: dict[str, Any] = {"steps": planned} if weighted else {}
    trainer = kind(
        model=model,
        args=cpu_arguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            learning_rate=learning_rate,
            max_grad_norm=0,
        ),
        train_dataset=examples,
        data_collator=WeightedCollator(1) if weighted else plain_collator,
        callbacks=[recorder, *callbacks],
        **more,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer, recorder.steps


def parameters(trainer: Trainer) -> State:
    assert trainer.model is not None
    return {n: p.detach() for n, p in trainer.model.named_parameters() if p.requires_grad}


def logs(trainer: Trainer) -> list[dict[str, float]]:
    """What was logged of each step."""
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def assert_same(found: State, wanted: State, factor: float = 1.0) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], factor * tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("batch_size", "accumulation"), [(4, 2), (2, 4), (1, 8)])
@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
def test_accumulation_takes_the_step_of_the_whole_batch(
    batch_size: int, accumulation: int, architecture: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    examples = make_examples(8, weight=lambda index: 0.25 + index / 4)
    whole, wanted = run(SeverityWeightedTrainer, tiny_model(architecture), tmp_path, examples)
    parts, found = run(
        SeverityWeightedTrainer,
        tiny_model(architecture),
        tmp_path,
        examples,
        batch_size=batch_size,
        accumulation=accumulation,
    )
    assert len(found) == len(wanted) == 1
    assert max(float(gradient.abs().max()) for gradient in wanted[0].values()) > 1e-3
    assert_same(found[0], wanted[0])
    assert_same(parameters(parts), parameters(whole))
    for name in ("loss", "plain_loss"):
        assert logs(parts)[0][name] == pytest.approx(logs(whole)[0][name], rel=1e-4)


def test_the_logged_losses_are_per_supervised_token(tiny_model: TinyModel, tmp_path: Path) -> None:
    examples = make_examples(8, weight=lambda index: 3.0)
    trainer, _ = run(
        SeverityWeightedTrainer,
        tiny_model("qwen2"),
        tmp_path,
        examples,
        batch_size=2,
        accumulation=4,
    )
    (log,) = logs(trainer)
    assert log["loss"] == pytest.approx(3 * log["plain_loss"], rel=1e-4)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_unit_weights_walk_the_path_of_the_plain_trainer(
    accumulation: int, tiny_model: TinyModel, tmp_path: Path
) -> None:
    examples = make_examples(24)
    size = 8 // accumulation
    shared: dict[str, Any] = {"batch_size": size, "accumulation": accumulation, "steps": 3}
    plain, wanted = run(PlainTrainer, tiny_model("qwen2"), tmp_path, examples, **shared)
    ours, found = run(SeverityWeightedTrainer, tiny_model("qwen2"), tmp_path, examples, **shared)
    assert len(found) == len(wanted) == 3
    for step in range(3):
        assert_same(found[step], wanted[step])
        expected, log = logs(plain)[step], logs(ours)[step]
        assert log["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert log["plain_loss"] == pytest.approx(log["loss"], rel=1e-4)
    for name, tensor in parameters(plain).items():
        torch.testing.assert_close(parameters(ours)[name], tensor, rtol=1e-3, atol=1e-4)


def test_doubled_weights_double_the_gradient(tiny_model: TinyModel, tmp_path: Path) -> None:
    _, ones = run(SeverityWeightedTrainer, tiny_model("qwen2"), tmp_path, make_examples(8))
    doubled = make_examples(8, weight=lambda index: 2.0)
    _, twos = run(SeverityWeightedTrainer, tiny_model("qwen2"), tmp_path, doubled)
    assert_same(twos[0], ones[0], factor=2.0)


def test_a_weight_of_zero_takes_an_example_out_but_not_out_of_the_count(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    examples = make_examples(8)
    silenced = [Example(e.prompt_ids, e.response_ids, float(i < 4)) for i, e in enumerate(examples)]
    _, part = run(SeverityWeightedTrainer, tiny_model("qwen2"), tmp_path, silenced)
    _, alone = run(SeverityWeightedTrainer, tiny_model("qwen2"), tmp_path, examples[:4])
    tokens = [len(example.response_ids) for example in examples]
    assert_same(part[0], alone[0], factor=sum(tokens[:4]) / sum(tokens))


def test_the_planned_batches_are_the_ones_that_are_taken(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    examples = make_examples(10)
    lengths = [len(example) for example in examples]
    planned = plan_steps(lengths, batch_size=4, parts=2, seed=3, epochs=2)
    seen: list[list[int]] = []

    class Watching(SeverityWeightedTrainer):
        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kw: Any) -> Any:
            stands_for_none = not (inputs["labels"] != -100).any()
            seen.append([] if stands_for_none else inputs[ROW_LENGTHS])
            return super().compute_loss(model, inputs, *args, **kw)

    run(
        Watching,
        tiny_model("qwen2"),
        tmp_path,
        examples,
        batch_size=4,
        accumulation=2,
        steps=len(planned),
        planned=planned,
    )
    wanted = [[lengths[index] for index in part] for step in planned for part in step]
    assert [sorted(part) for part in seen] == [sorted(part) for part in wanted]
    assert [] in seen  # 10 examples in steps of 8: the last parts of an epoch are empty


def test_a_loss_that_is_no_number_ends_the_run(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(WorkFailedError, match=r"diverged\nWhat to do: lower training"):
        run(
            SeverityWeightedTrainer,
            tiny_model("qwen2"),
            tmp_path,
            make_examples(8),
            steps=4,
            learning_rate=1e30,
        )


def test_a_model_that_changes_its_logits_in_an_unknown_way_is_refused(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    loaded = tiny_model("gemma3")
    own = loaded.model.forward

    def forward(**inputs: Any) -> Any:
        output = own(**inputs)
        output.logits = output.logits.abs()
        return output

    loaded.model.forward = forward
    with pytest.raises(ModelError, match="Gemma3ForCausalLM changes its logits"):
        run(SeverityWeightedTrainer, loaded, tmp_path, make_examples(8))
