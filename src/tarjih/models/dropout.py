"""Dropout that does not wait for its random numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_SIXTEEN_BITS = 2**16


class QuickDropout(nn.Dropout):
    """`nn.Dropout`, on a CPU with a quarter of the work.

    There torch draws one number after the other, a float for each element, which took 14 % of a
    LoRA step. Here each draw of 64 bits decides four elements, so the probability is rounded to a
    multiple of 2**-16; what is kept is divided by exactly the share that is kept on average.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """As `nn.Dropout`: elements are zero with probability p, the others grow by 1 / (1 - p)."""
        dropped = round(self.p * _SIXTEEN_BITS)
        if input.device.type != "cpu" or not self.training or not 0 < dropped < _SIXTEEN_BITS:
            return super().forward(input)
        draws = torch.empty((input.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: input.numel()].view(input.shape)
        kept = torch.empty_like(input, memory_format=torch.contiguous_format, requires_grad=False)
        torch.ge(bits, dropped - _SIXTEEN_BITS // 2, out=kept)
        return input * kept.mul_(_SIXTEEN_BITS / (_SIXTEEN_BITS - dropped))


def use_quick_dropout(model: nn.Module) -> None:
    """Put it wherever a PEFT model's adapters have a dropout."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            for name, dropout in module.lora_dropout.items():
                if isinstance(dropout, nn.Dropout):
                    module.lora_dropout[name] = QuickDropout(dropout.p)
