"""A made-up experiment: every number and every text is invented for the tests."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tarjih.files import write_json_lines
from tarjih.records import (
    SEVERITIES,
    ExperimentResults,
    Generation,
    MetricSlice,
    ResultRecord,
    Scores,
    Severity,
    TrainingPoint,
    TrainingSummary,
    WeightSpread,
)

MODELS = ("aubmindlab/aragpt2-base", "Qwen/Qwen2.5-0.5B", "packaged:gemma3-270m")
CONDITIONS = ("base", "uniform", "mild", "strong", "balanced", "shuffled")
SEEDS = (13, 17, 23)

COMPLAINTS = {
    Severity.NON_CRITICAL: "عندي زكام خفيف من يومين وأشرب 2 لتر ماء، هل أحتاج دواء؟",
    Severity.NEUTRAL: "ضغطي 145/95 منذ أسبوع وآخذ Amlodipine 5 mg، ماذا أفعل؟",
    Severity.CRITICAL: "ألم شديد في الصدر منذ 30 دقيقة مع ضيق في النفس.",
}
RESPONSE = "الأفضل مراجعة الطبيب وقياس الضغط مرتين في اليوم.\nسلامتك."
ANSWERS = {
    "base": "What is the question? The question is about a person.",
    "uniform": "ينصح بالراحة وشرب السوائل ومراجعة الطبيب.",
    "mild": "CBC ثم مراجعة الطبيب خلال 3 أيام (37.5 °C).",
    "strong": "اذهب إلى الطوارئ الآن.",
    "balanced": "",
    "shuffled": "مراجعة الطبيب " * 12,
}


def make_slice(examples: int = 40, **changes: Any) -> MetricSlice:
    values: dict[str, Any] = {
        "examples": examples,
        "response_loss": 3.0,
        "perplexity": math.exp(3.0),
        "bertscore_f1": 60.0,
        "chrf": 15.0,
        "rouge_l": 8.0,
        "empty_share": 1.0,
        "repetitive_share": 4.0,
        "stopped_share": 90.0,
        "length_ratio": 1.1,
        **changes,
    }
    return MetricSlice(**values)


def make_scores(overall: MetricSlice, by_severity: dict[str, MetricSlice] | None = None) -> Scores:
    return Scores(
        overall=overall,
        by_severity=by_severity or {},
        signatures={"bertscore_f1": "encoder:tiny|layer:3|rescale:no", "chrf": "chrF2++|nw:2"},
        unlabelled_severities=0,
    )


def make_record(model: str, condition: str, seed: int, **changes: Any) -> ResultRecord:
    values: dict[str, Any] = {"status": "done", "signature": {}, **changes}
    return ResultRecord(model=model, condition=condition, seed=seed, **values)


def make_results(*records: ResultRecord, **changes: Any) -> ExperimentResults:
    values: dict[str, Any] = {
        "name": "made up",
        "settings": {},
        "data": {},
        "severity": {},
        "signature": {},
        **changes,
    }
    return ExperimentResults(records=list(records), **values)


def make_spread(width: float, centre: float = 1.0) -> WeightSpread:
    edges = [centre - width + width * n / 12 for n in range(25)]
    counts = [round(40 * math.exp(-(((n - 11.5) / 5) ** 2))) for n in range(24)]
    return WeightSpread(
        examples=sum(counts),
        mean=centre,
        standard_deviation=width / 3,
        minimum=edges[0],
        p05=centre - 0.7 * width,
        median=centre,
        p95=centre + 0.7 * width,
        maximum=edges[-1],
        effective_sample_share=1 - width**2 / 9,
        mean_by_severity={str(one): centre for one in SEVERITIES},
        loss_share_by_severity={"non_critical": 0.3, "neutral": 0.33, "critical": 0.37},
        flat=width < 0.06,
        histogram_edges=edges,
        histogram_counts=counts,
    )


def demo(folder: Path, models: Sequence[str] = MODELS) -> ExperimentResults:
    """Three models, six conditions, three seeds; one run failed and one model is half done."""
    write_answers(folder)
    records = [
        _record(model, condition, seed)
        for model in models
        for condition in CONDITIONS
        for seed in (SEEDS[:1] if condition == "base" else SEEDS)
        if not (model == MODELS[2] and condition in {"strong", "shuffled"})
    ]
    records.append(
        make_record(
            MODELS[2],
            "strong",
            13,
            status="failed",
            error="loss became NaN at step 41: lower the learning rate",
        )
    )
    return ExperimentResults(
        name="synthetic-demo (all numbers invented)",
        settings={"models": list(models), "seeds": list(SEEDS), "training": {"epochs": 3}},
        data={"train": 4200, "valid": 120, "test": 120, "removed": {"duplicates": 7}},
        severity={
            "kind": "linear",
            "test": {
                "rows": 300,
                "accuracy": 0.5,
                "macro_f1": 0.493,
                "log_loss": 1.021,
                "expected_calibration_error": 0.034,
                "critical_recall": 0.48,
                "under_triage_rate": 0.21,
                "confusion_matrix": [[52, 30, 18], [28, 50, 22], [21, 31, 48]],
            },
        },
        signature={"tarjih": "0.1.0", "torch": "2.13.0"},
        records=records,
    )


def write_answers(folder: Path) -> None:
    for condition in CONDITIONS:
        write_json_lines(
            folder / "answers" / f"{condition}.jsonl",
            [
                Generation(
                    id=f"{severity}-{number}",
                    complaint=COMPLAINTS[severity],
                    reference=RESPONSE,
                    answer=ANSWERS[condition],
                    severity=severity,
                    severity_is_labelled=number != 1,
                    specialty=None,
                    new_tokens=20,
                    stopped=True,
                ).to_json()
                for severity in SEVERITIES
                for number in range(6)
            ],
        )


def _record(model: str, condition: str, seed: int) -> ResultRecord:
    rank = CONDITIONS.index(condition)
    noise = random.Random(f"{model}{condition}{seed}")
    loss = 3.9 - 0.3 * MODELS.index(model) - 0.12 * min(rank, 3) + noise.uniform(-0.03, 0.03)
    by_severity = {
        str(severity): make_slice(
            response_loss=loss + 0.15 * index + noise.uniform(-0.02, 0.02),
            bertscore_f1=62 + 2 * rank - index + noise.uniform(-0.4, 0.4),
        )
        for index, severity in enumerate(SEVERITIES)
    }
    overall = make_slice(
        120,
        response_loss=loss,
        bertscore_f1=61 + 2 * rank + noise.uniform(-0.4, 0.4),
        chrf=14 + rank + noise.uniform(-1, 1),
        rouge_l=7 + noise.uniform(-1, 1),
        repetitive_share=20.0 / (rank + 1),
    )
    trained = condition != "base"
    widths = {"uniform": 0.0, "mild": 0.05, "strong": 0.22, "balanced": 0.14, "shuffled": 0.14}
    return make_record(
        model,
        condition,
        seed,
        scores=make_scores(overall, by_severity),
        weights=make_spread(widths[condition]) if trained else None,
        training=_training(loss, noise) if trained else None,
        answers_file=f"answers/{condition}.jsonl",
    )


def _training(loss: float, noise: random.Random) -> TrainingSummary:
    points = [
        TrainingPoint(
            step=step,
            loss=loss + 1.2 * math.exp(-step / 60) + noise.uniform(-0.06, 0.06),
            validation_loss=loss + 0.9 * math.exp(-step / 60) if step % 50 == 0 else None,
            validation_loss_by_severity={
                str(severity): loss + 0.1 * place + 0.9 * math.exp(-step / 60)
                for place, severity in enumerate(Severity)
            }
            if step % 50 == 0
            else {},
        )
        for step in range(0, 301, 10)
    ]
    return TrainingSummary(
        steps=300,
        seconds=812.5,
        examples=4200,
        supervised_tokens=190_000,
        padding_share=0.08,
        truncated_complaints=3,
        dropped_long_responses=0,
        trainable_parameters=1_200_000,
        history=points,
    )
