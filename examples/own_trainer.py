"""SeverityWeightedTrainer where Transformers' Trainer stood.

    python examples/own_trainer.py [MODEL]

The dataset is a list of dicts (or a `datasets.Dataset`) with `input_ids`, `labels` (-100 where a
token is not supervised), `weight`, and, if known, `severity`: 0 non-critical, 1 neutral,
2 critical. Everything else is as for Trainer; the arguments need no change.
"""

from __future__ import annotations

import tempfile

import torch
from given import model_and_tokenizer, weighted_examples
from transformers import TrainingArguments

from tarjih.models.load import pad_token_id
from tarjih.training.collate import WeightedCollator
from tarjih.training.trainer import SeverityWeightedTrainer

model, tokenizer = model_and_tokenizer()
examples = weighted_examples(tokenizer, 24)
with tempfile.TemporaryDirectory() as folder:
    trainer = SeverityWeightedTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=folder,
            num_train_epochs=2,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            learning_rate=1e-3,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="eval_plain_loss",  # comparable between weightings
            logging_steps=2,
            disable_tqdm=True,
            report_to=[],
            dataloader_pin_memory=torch.cuda.is_available(),
        ),
        train_dataset=examples[:18],
        eval_dataset=examples[18:],
        data_collator=WeightedCollator(pad_token_id(tokenizer)),
        processing_class=tokenizer,
    )
    trainer.train()
    found = trainer.evaluate()
print({key: round(value, 4) for key, value in found.items() if "loss" in key})
