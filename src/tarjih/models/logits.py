"""What a model does between its hidden states and its logits: the head, and changes after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tarjih.errors import ModelError
from tarjih.loss import LogitChange

# Settings of Transformers' architectures -> the factor on the logits, and what stands for none.
_SCALES: dict[str, Callable[[float], float]] = {
    "logits_scaling": lambda value: 1 / value,  # Granite
    "logit_scale": lambda value: value,  # Cohere
    "lm_head_multiplier": lambda value: value,  # Falcon-H1
}
_CAP = "final_logit_softcapping"  # Gemma 2 and later
_NEUTRAL: dict[str, float | None] = {**dict.fromkeys(_SCALES, 1.0), _CAP: None}
# Of the largest logit; a change that was overlooked is of another order.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
_SHORT_TYPES_TOLERANCE = 0.05


def output_head(model: Any) -> nn.Linear:
    """The layer that turns hidden states into logits.

    Raises:
        ModelError: when it is not a plain linear layer (for example when LoRA was put on it).
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ModelError(
            f"the output head is a {type(head).__name__}, not a plain linear layer",
            remedy="leave the head out of the LoRA targets",
        )
    return head


def logit_change(model: Any) -> LogitChange:
    """How the model scales or caps its logits after the head, read from its settings."""
    scale, cap = 1.0, None
    for name in _NEUTRAL:
        owners = _owners(model, name)
        value = getattr(owners[0], name) if owners else None
        if value is None:
            continue
        if name == _CAP:
            cap = float(value)
        else:
            scale *= _SCALES[name](float(value))
    return LogitChange(scale=scale, cap=cap)


@contextmanager
def unchanged_logits(model: Any) -> Iterator[None]:
    """Within it the model leaves alone what its head returns."""
    before = [
        (owner, name, getattr(owner, name)) for name in _NEUTRAL for owner in _owners(model, name)
    ]
    for owner, name, _ in before:
        setattr(owner, name, _NEUTRAL[name])
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _owners(model: Any, name: str) -> list[Any]:
    """The objects that hold a setting: a module's copy counts before its configuration."""
    model = base_model_of(model)
    modules = [model, getattr(model, model.base_model_prefix, None)]
    candidates = [*modules, getattr(model, "config", None)]
    return [owner for owner in candidates if owner is not None and hasattr(owner, name)]


def base_model_of(model: Any) -> Any:
    """The Transformers model under the wrappers of DDP and PEFT."""
    while hasattr(model, "module"):
        model = model.module
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def check_logits(model: Any) -> None:
    """Refuse a model whose logits are anything else than what the loss will take them for.

    Compares the model's own logits of a short text with those made from its hidden states.

    Raises:
        ModelError: naming the model's class; the loss would silently differ from the model's own;
            or when the head is not a plain linear layer.
    """
    head, change = output_head(model), logit_change(model)
    tokens = torch.arange(4, 8, device=head.weight.device).unsqueeze(0)
    seen: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            own = model(input_ids=tokens, use_cache=False).logits
            ours = torch.nn.functional.linear(seen[-1], head.weight, head.bias)
            ours = change.apply(ours.to(torch.promote_types(own.dtype, torch.float32)))
    finally:
        hook.remove()
        model.train(was_training)
    tolerance = _TOLERANCE.get(own.dtype, _SHORT_TYPES_TOLERANCE)
    if float((own - ours).abs().max()) > tolerance * float(ours.abs().max()):
        raise ModelError(
            f"{type(base_model_of(model)).__name__} changes its logits after the head in a way "
            "that is not known here, so the loss would differ from the model's own",
            remedy="choose another model, or report its name so that it can be added",
        )
