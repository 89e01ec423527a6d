"""How far a training step is from what its arithmetic alone must take.

    python benchmarks/floor.py [MODEL] [--precision auto|float32|bfloat16] [--rounds 5]

The floor counts the multiplications that LoRA fine-tuning cannot do without: every frozen weight of
the body once forward and once backward (for the gradient of its input) for each token, the head
once forward and once backward for each supervised token; divided by the rate at which this machine
multiplies matrices of the head's shape, measured in the same run. Attention, norms, adapters and
the optimizer are not in it. The step is measured on the eight bundled consultations of middle
length. Only ratios count: absolute times depend on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

import torch
from side_by_side import median_seconds

from tarjih.data.prompt import PromptSettings
from tarjih.data.read import read_consultations
from tarjih.models.load import LoadedModel, ModelSettings, load_causal_model, pad_token_id
from tarjih.models.logits import output_head
from tarjih.models.lora import LoraSettings, add_lora, leave_precision_to_autocast
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.training.collate import WeightedCollator
from tarjih.training.examples import Example, encode_consultations
from tarjih.training.head import weighted_forward

BATCH = 8


def main() -> None:
    """Print the parts of the floor, and the step as a multiple of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="packaged:gemma-3-270m")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    loaded = load_causal_model(chosen.model, ModelSettings(precision=chosen.precision))
    examples = middle_examples(loaded)
    body, head = multiplications(loaded, examples)
    step = make_step(loaded, examples)
    weight = output_head(loaded.model).weight.detach()
    rows = torch.randn(512, weight.shape[1], device=weight.device).to(weight.dtype)
    step()
    seconds = median_seconds({"step": step, "product": lambda: rows @ weight.T}, chosen.rounds)
    rate = rows.shape[0] * weight.numel() / seconds["product"]
    floor = (body + head) / rate
    tokens = sum(map(len, examples))
    supervised = sum(len(one.response_ids) for one in examples)
    print(
        f"{chosen.model}, {weight.dtype}, {torch.get_num_threads()} threads: {len(examples)} "
        f"examples, {tokens} tokens, {supervised} of them supervised"
    )
    print(f"multiplications: body {body / 1e9:.0f} billion, head {head / 1e9:.0f} billion")
    print(f"floor: body {body / (body + head):.0%}, head {head / (body + head):.0%}")
    print(f"a step takes {seconds['step'] / floor:.2f} x the floor")


def middle_examples(loaded: LoadedModel) -> list[Example]:
    """The bundled consultations of middle length."""
    consultations = read_consultations("bundled:consultations", require_response=True)
    encoder = PromptEncoder(loaded.tokenizer, PromptSettings())
    encoded = encode_consultations(
        consultations, encoder, max_tokens=512, long_responses="drop"
    ).examples
    encoded.sort(key=len)
    return encoded[(len(encoded) - BATCH) // 2 :][:BATCH]


def multiplications(loaded: LoadedModel, examples: list[Example]) -> tuple[int, int]:
    """Of body and head, forward and backward, without padding."""
    head = output_head(loaded.model).weight
    layers: list[Any] = [
        parameter
        for name, parameter in loaded.model.named_parameters()
        if parameter.ndim == 2 and parameter.shape[0] != head.shape[0]
    ]
    tokens = sum(map(len, examples))
    supervised = sum(len(one.response_ids) for one in examples)
    return 2 * tokens * sum(map(torch.numel, layers)), 2 * supervised * head.numel()


def make_step(loaded: LoadedModel, examples: list[Example]) -> Any:
    """Forward and backward as the trainer does them."""
    model = add_lora(loaded.model, LoraSettings(dropout=0.0)).train()
    short = output_head(model).weight.dtype == torch.bfloat16
    if short:
        leave_precision_to_autocast(model)
    batch = WeightedCollator(pad_token_id(loaded.tokenizer))(examples)
    batch = {name: tensor.to(loaded.device) for name, tensor in batch.items()}
    kind = loaded.device.type

    def step() -> None:
        mixed = torch.autocast(kind, torch.bfloat16) if short else contextlib.nullcontext()
        with mixed:
            losses = weighted_forward(model, batch)
        (losses.total / len(losses.rows)).backward()  # type: ignore[no-untyped-call]
        model.zero_grad()

    return step


if __name__ == "__main__":
    main()
