"""Proof that weights act: the first step's gradient with them and without them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

WEIGHTED_NORM = "first_step_gradient_norm"
PLAIN_NORM = "first_step_gradient_norm_unweighted"
COSINE = "first_step_gradient_cosine"


class FirstStep:
    """Collects the gradient that the first step would have without weights.

    It costs the first step one more backward pass through the model, from the same forward pass.
    Sharded parameters (FSDP, DeepSpeed) are not compared: no rank has their gradients.

    Args:
        model: the model as it is trained.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._plain: list[Tensor] | None = None

    def _parameters(self) -> list[Tensor]:
        return [parameter for parameter in self._model.parameters() if parameter.requires_grad]

    def add_plain(self, loss: Tensor) -> None:
        """Add the gradient of a micro-batch's unweighted loss."""
        parameters = self._parameters()
        if any(type(parameter) is not torch.nn.Parameter for parameter in parameters):
            return
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        gradients = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(parameters, found, strict=True)
        ]
        if self._plain is None:
            self._plain = gradients
        else:
            torch._foreach_add_(self._plain, gradients)

    def compare(self, accelerator: Any) -> dict[str, float] | None:
        """Compare with the weighted gradient that the parameters now hold, and let go of it.

        Returns:
            Norms and the cosine between the two; None where nothing could be collected.
        """
        plain, self._plain = self._plain, None
        if plain is None:
            return None
        if accelerator.num_processes > 1:
            plain = accelerator.reduce(plain, "mean")
        products = torch.zeros(3, dtype=torch.float64)
        for parameter, one in zip(self._parameters(), plain, strict=True):
            if parameter.grad is None:
                continue
            weighted, unweighted = parameter.grad.flatten().double(), one.flatten().double()
            pairs = ((weighted, weighted), (unweighted, unweighted), (weighted, unweighted))
            products += torch.stack([torch.dot(*pair) for pair in pairs]).cpu()
        squared, plain_squared, product = products.tolist()
        norms = (squared * plain_squared) ** 0.5
        return {
            WEIGHTED_NORM: squared**0.5,
            PLAIN_NORM: plain_squared**0.5,
            COSINE: product / norms if norms else 1.0,
        }
