"""The first step's gradient in run.json is what autograd gives of the model's own logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tarjih.models.lora import LoraSettings
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.training.build import load_trainable
from tarjih.training.job import TrainingJob
from tarjih.training.train import train
from tarjih.weighting import Weighting

from .conftest import MakeJob
from .paths import InFloat64


def gradients(job: TrainingJob) -> tuple[Tensor, Tensor]:
    """Of the mean loss of all tokens, with weights and without, before any step; in float64."""
    loaded = load_trainable(job)
    model = loaded.model.double().eval()
    encoder = PromptEncoder(loaded.tokenizer, job.prompt)
    weighted, plain, tokens = [], [], 0
    with InFloat64():
        for row in job.train:
            assert row.probabilities is not None
            shares = row.probabilities.as_tuple()
            factors = (job.weighting.alpha, job.weighting.beta, job.weighting.gamma)
            weight = sum(factor * share for factor, share in zip(factors, shares, strict=True))
            prompt, response = encoder.prompt(row.complaint).ids, encoder.response(row.response)
            logits = model(input_ids=torch.tensor([prompt + response])).logits[0]
            predicted = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
            loss = -predicted[range(len(response)), response].sum()
            weighted.append(weight * loss)
            plain.append(loss)
            tokens += len(response)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    flat = []
    for losses in (weighted, plain):
        found = torch.autograd.grad(torch.stack(losses).sum() / tokens, trained, retain_graph=True)
        flat.append(torch.cat([gradient.flatten() for gradient in found]))
    return flat[0], flat[1]


@pytest.mark.parametrize(("batch_size", "accumulation"), [(12, 1), (6, 2)])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_first_steps_gradient_is_that_of_autograd(
    method: str, batch_size: int, accumulation: int, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(
        method=method,
        max_steps=1,  # one step of all 12 examples
        batch_size=batch_size,
        accumulation_steps=accumulation,
        validation=[],
        lora=LoraSettings(rank=2, dropout=0),
    )
    weighted, plain = gradients(job)
    cosine = float(weighted @ plain / weighted.norm() / plain.norm())
    assert cosine < 1 - 1e-5
    summary = train(job, tmp_path / "run").training
    found = summary.first_step
    assert found is not None
    assert found.norm == pytest.approx(float(weighted.norm()), rel=1e-5)
    assert found.unweighted_norm == pytest.approx(float(plain.norm()), rel=1e-5)
    assert found.cosine == pytest.approx(cosine, abs=1e-7)
    assert summary.history[1].gradient_norm == pytest.approx(found.norm, rel=1e-5)


def test_equal_weights_change_the_length_of_the_gradient_but_not_its_direction(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(max_steps=1, validation=[], weighting=Weighting(alpha=2, beta=2, gamma=2))
    found = train(job, tmp_path / "run").training.first_step
    assert found is not None
    assert found.norm == pytest.approx(2 * found.unweighted_norm, rel=1e-5)
    assert found.cosine == pytest.approx(1, abs=1e-9)
