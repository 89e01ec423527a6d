"""The collator and the loss inside the forward pass, in a trainer class of one's own.

    python examples/own_loop.py [MODEL]

`weighted_forward` calls the whole model once, with the loss in the place of its logits. So it works
where reaching into the model does not: under LoRA, DDP, FSDP and gradient checkpointing.
"""

from __future__ import annotations

from typing import Any

import torch
from given import model_and_tokenizer, weighted_examples
from peft import LoraConfig, get_peft_model

from tarjih.models.load import pad_token_id
from tarjih.training.collate import WeightedCollator
from tarjih.training.head import weighted_forward


class MyTrainer:
    """Whatever you have; only `loss` matters here."""

    def __init__(self, model: Any, pad_id: int) -> None:
        self.model = model
        self.collate = WeightedCollator(pad_id)
        trained = [one for one in model.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-3)

    def loss(self, rows: list[dict[str, Any]], tokens: int) -> tuple[torch.Tensor, float]:
        """A micro-batch's share of the step's weighted loss, and of its plain one."""
        batch = {key: value.to(self.model.device) for key, value in self.collate(rows).items()}
        losses = weighted_forward(self.model, batch)
        return losses.total / tokens, losses.plain.item() / tokens

    def step(self, micro_batches: list[list[dict[str, Any]]]) -> tuple[float, float]:
        """One optimizer step over several micro-batches; its weighted and plain loss."""
        labels = [row["labels"][1:] for rows in micro_batches for row in rows]
        tokens = sum(label != -100 for row in labels for label in row)
        weighted = plain = 0.0
        for rows in micro_batches:
            loss, unweighted = self.loss(rows, tokens)
            loss.backward()  # type: ignore[no-untyped-call]
            weighted, plain = weighted + loss.item(), plain + unweighted
        self.optimizer.step()
        self.optimizer.zero_grad()
        return weighted, plain


model, tokenizer = model_and_tokenizer()
examples = weighted_examples(tokenizer)
lora = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
trainer = MyTrainer(get_peft_model(model, lora), pad_token_id(tokenizer))
for start in range(0, len(examples), 8):
    found, unweighted = trainer.step([examples[at : at + 2] for at in range(start, start + 8, 2)])
    print(f"weighted loss {found:.4f}, plain loss {unweighted:.4f} per token")
