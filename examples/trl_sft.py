"""TRL's SFTTrainer with the severity-weighted loss.

    pip install 'trl>=1.16'
    python examples/trl_sft.py [MODEL]

The dataset is TRL's own (prompt and completion) with one column more, `weight`. TRL applies the
chat template, tokenises and truncates; docs/own-trainer.md says which of its options do not go
together with this loss.
"""

from __future__ import annotations

import tempfile
from typing import Any

from datasets import Dataset
from given import model_and_tokenizer
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from tarjih.data.read import read_consultations
from tarjih.training.collate import WeightsBeside
from tarjih.training.weighted_loss import SeverityWeightedLoss

WEIGHTS = {"non_critical": 0.5, "neutral": 1.0, "critical": 1.5}


class WeightedSFTTrainer(SeverityWeightedLoss, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer, its batches with their weights, and the weighted loss."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.data_collator = WeightsBeside(self.data_collator)


model, tokenizer = model_and_tokenizer()
consultations = read_consultations("bundled:consultations")[:24]
dataset = Dataset.from_dict(
    {
        "prompt": [f"{row.complaint}\n" for row in consultations],
        "completion": [row.response for row in consultations],
        "weight": [WEIGHTS[str(row.labelled_severity)] for row in consultations],
    }
).train_test_split(6, seed=0)
with tempfile.TemporaryDirectory() as folder:
    trainer = WeightedSFTTrainer(
        model=model,
        args=SFTConfig(
            folder,
            per_device_train_batch_size=4,
            num_train_epochs=1,
            logging_steps=1,
            bf16=False,  # TRL's default is True
            disable_tqdm=True,
        ),
        train_dataset=dataset["train"],
        eval_dataset=dataset["test"],
        processing_class=tokenizer,
        peft_config=LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    trainer.train()
    print({key: value for key, value in trainer.evaluate().items() if "loss" in key})
