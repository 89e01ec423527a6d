"""Linear layers in 8-bit integers, for scoring on processors that multiply them faster.

Each row of the weights has a scale, fixed once; each token's vector has its own, found when it
comes. So a text's logits do not depend on what else is in its batch, which they do where a whole
batch shares one scale, as in `torch.ao.quantization.quantize_dynamic` (deprecated besides).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

_LARGEST = 127.0
_SMALLEST_SCALE = 1e-12


class Int8Linear(nn.Module):
    """y = s_x s_w (round(x / s_x) @ round(w / s_w).T) + b, with s = max |row| / 127 of each row.

    Args:
        linear: (out, in) weights in float32, in > 1, taken as they are now.
    """

    weights: Tensor
    scales: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weights, scales = _quantised(linear.weight.detach())
        bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach()
        self.register_buffer("weights", weights.t())
        self.register_buffer("scales", scales.squeeze(1))
        self.register_buffer("bias", bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., in) float32 -> (..., out) float32."""
        rows, scales = _quantised(vectors.reshape(-1, vectors.shape[-1]))
        products = torch._int_mm(rows, self.weights).float().mul_(scales)
        found = torch.addcmul(self.bias, products, self.scales)
        return found.reshape(*vectors.shape[:-1], -1)


def _quantised(rows: Tensor) -> tuple[Tensor, Tensor]:
    scales = rows.abs().amax(dim=1, keepdim=True).div_(_LARGEST).clamp_(min=_SMALLEST_SCALE)
    return (rows / scales).round_().to(torch.int8), scales


def with_int8_layers(module: nn.Module) -> nn.Module:
    """A copy whose linear layers (of more than one input) are 8-bit; the rest is shared."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return _replaced(copy.deepcopy(module, dict(shared)))


def _replaced(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        # Of a single input, torch 2.13 gives wrong products on some processors.
        if isinstance(child, nn.Linear) and child.in_features > 1:
            setattr(module, name, Int8Linear(child))
        else:
            _replaced(child)
    return module
