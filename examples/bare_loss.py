"""Only the loss, in a PyTorch loop of one's own.

    python examples/bare_loss.py [MODEL]

It needs three things of a model: the hidden states that its body makes, the weight of its head, and
what it does to its logits after the head (nothing for most; Gemma 2, Granite and Cohere cap or
scale them). The loss is a sum, so that accumulation divides by the tokens of the whole step once.
"""

from __future__ import annotations

import torch
from given import model_and_tokenizer, weighted_examples

from tarjih.loss import severity_weighted_cross_entropy
from tarjih.models.logits import check_logits, logit_change, output_head

STEPS, ACCUMULATION, ROWS = 3, 4, 2

model, tokenizer = model_and_tokenizer()
examples = weighted_examples(tokenizer, STEPS * ACCUMULATION * ROWS)
check_logits(model)  # refuses a model whose logits are not what logit_change says
head, change = output_head(model), logit_change(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
model.train()

for start in range(0, len(examples), ACCUMULATION * ROWS):
    step = examples[start : start + ACCUMULATION * ROWS]
    tokens = sum(label != -100 for row in step for label in row["labels"][1:])
    total = 0.0
    for first in range(0, len(step), ROWS):
        rows = step[first : first + ROWS]
        width = max(len(row["input_ids"]) for row in rows)
        input_ids = torch.full((len(rows), width), 0)
        mask = torch.zeros_like(input_ids)
        labels = torch.full_like(input_ids, -100)
        for index, row in enumerate(rows):  # on the right, so that no position moves
            end = len(row["input_ids"])
            input_ids[index, :end] = torch.tensor(row["input_ids"])
            labels[index, :end] = torch.tensor(row["labels"])
            mask[index, :end] = 1
        weights = torch.tensor([row["weight"] for row in rows])

        hidden = model.base_model(input_ids, attention_mask=mask, use_cache=False)[0]
        predicted = labels[:, 1:] != -100  # position t predicts the token at t + 1
        loss = severity_weighted_cross_entropy(
            hidden[:, :-1][predicted],
            head.weight,
            labels[:, 1:][predicted],
            weights[predicted.nonzero()[:, 0]],
            bias=head.bias,
            logit_change=change,
        )
        (loss / tokens).backward()
        total += loss.item() / tokens
    optimizer.step()
    optimizer.zero_grad()
    print(f"weighted loss {total:.4f} per token, of {tokens} supervised tokens")
