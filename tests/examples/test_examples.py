"""The examples run, and say what they compute."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tarjih.loss import naive_severity_weighted_cross_entropy
from tiny_models import TinyFolder

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "given.py")
NUMBER = r"(\d+\.\d+)"

pytestmark = [
    # Others' notes to others, which a user of the examples sees and may ignore.
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run an example as its own command would; gives its globals."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def example(name: str, *arguments: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        return runpy.run_path(str(FOLDER / name), run_name="__main__")

    yield example
    sys.modules.pop("given", None)


def first_loss(given: Any) -> float:
    """The weighted loss per token of the first 8 examples, by the equation, from logits."""
    model, tokenizer = given["model_and_tokenizer"]()
    total, tokens = 0.0, 0
    for row in given["weighted_examples"](tokenizer, 8):
        labels = torch.tensor(row["labels"][1:])
        chosen = labels != -100
        with torch.no_grad():
            hidden = model.base_model(torch.tensor([row["input_ids"]]))[0][0, :-1][chosen]
            loss = naive_severity_weighted_cross_entropy(
                hidden.double(),
                model.lm_head.weight.double(),
                labels[chosen],
                torch.full((int(chosen.sum()),), row["weight"]),
            )
        total += float(loss)
        tokens += int(chosen.sum())
    return total / tokens


def test_each_example_starts_with_its_command_and_is_short() -> None:
    assert SCRIPTS == ["bare_loss.py", "own_loop.py", "own_trainer.py", "trl_sft.py"]
    for name in SCRIPTS:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert f"    python examples/{name} [MODEL]\n" in text.split('"""')[1]
        assert len(text.splitlines()) <= 62


@pytest.mark.parametrize("name", ["bare_loss.py", "own_loop.py"])
def test_loops_of_ones_own_take_the_weighted_loss(
    name: str, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run(name)
    losses = re.findall(rf"^weighted loss {NUMBER}", capsys.readouterr().out, re.MULTILINE)
    assert len(losses) == 3
    assert float(losses[0]) == pytest.approx(first_loss(run("given.py")), abs=1e-4)


@pytest.mark.parametrize("name", ["bare_loss.py", "own_loop.py"])
@pytest.mark.parametrize("architecture", ["gemma3", "gpt2"])
def test_loops_of_ones_own_take_the_users_model(
    name: str,
    architecture: str,
    run: Any,
    tiny_folder: TinyFolder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    left = run(name, str(tiny_folder(architecture)))
    assert left["model"].config.model_type.startswith(architecture)
    assert len(re.findall(rf"^weighted loss {NUMBER}", capsys.readouterr().out, re.M)) == 3


def test_the_trainer_learns_and_keeps_its_best_model(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = run("own_trainer.py")["trainer"]
    evaluated = [one for one in trainer.state.log_history if "eval_plain_loss" in one]
    losses = [one["eval_plain_loss"] for one in evaluated]
    assert len(losses) == 3
    assert losses[1] < losses[0]
    assert trainer.state.best_metric == losses[2] == losses[1]
    assert f"'eval_plain_loss': {losses[2]:.4f}"[:20] in capsys.readouterr().out
    (gradients,) = [one for one in trainer.state.log_history if "first_step_gradient_cosine" in one]
    assert gradients["first_step_gradient_cosine"] < 1 - 1e-5


def test_trl_trains_with_its_own_dataset_and_a_weight(run: Any) -> None:
    left = run("trl_sft.py")
    trainer = left["trainer"]
    history = trainer.state.log_history
    ratios = [one["loss"] / one["plain_loss"] for one in history if "loss" in one]
    assert len(ratios) == 5
    assert max(ratios) > 1.05
    assert min(ratios) < 0.95
    assert {"eval_loss", "eval_plain_loss"} <= history[-1].keys()
