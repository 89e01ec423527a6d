"""`tarjih weights`, and the settings of contrast in `tarjih train`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cli.commands import run_here
from small_world import few_consultations, write_consultations, write_plan
from tarjih.records import PROBABILITY_COLUMNS, SEVERITIES

ARABIC = re.compile("[\u0600-\u06ff]")


def test_the_papers_weights_of_an_annotated_file(scored_file: Path, tmp_path: Path) -> None:
    plot = tmp_path / "weights.png"
    done = run_here("weights", scored_file, "--out", plot)
    assert done.code == 0, done.shown
    for name in ("uniform", "mild", "balanced", "strong"):
        assert len(re.findall(rf"^{name} ", done.out, re.MULTILINE)) == 2  # row and histogram
    assert "weight \u00b7 words" in done.out
    assert max(len(line) for line in done.out.splitlines() if "/" not in line) <= 80
    assert f"Written to {plot}" in done.out
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert not ARABIC.search(done.shown)


def test_json_holds_the_numbers(scored_file: Path) -> None:
    done = run_here("weights", scored_file, "strong", "gamma=3,severity=hard", "--json")
    assert done.code == 0, done.shown
    found = json.loads(done.out)
    assert found["lengths"] == "words"
    rows = pq.read_table(scored_file).to_pylist()
    p = np.array([[row[name] for name in PROBABILITY_COLUMNS] for row in rows])
    words = np.array([len(row["response"].split()) for row in rows])
    labels = np.array([SEVERITIES.index(row["labelled_severity"]) for row in rows])
    strong = found["weightings"]["strong"]
    weights = p @ np.array([0.25, 1, 1.75])
    assert strong["mean"] == pytest.approx(weights.mean())
    share = (weights * words)[labels == 2].sum() / (weights * words).sum()
    assert strong["gradient_share_by_severity"]["critical"] == pytest.approx(share)
    hard = found["weightings"]["gamma=3,severity=hard"]
    assert {hard["minimum"], hard["maximum"]} <= {0.5, 1.0, 3.0}
    assert hard["mean"] == pytest.approx(np.array([0.5, 1, 3])[p.argmax(axis=1)].mean())


def test_a_model_counts_tokens(scored_file: Path, model_folder: Path) -> None:
    done = run_here("weights", scored_file, "balanced", "--model", model_folder, "--json")
    assert done.code == 0, done.shown
    found = json.loads(done.out)
    assert found["lengths"] == "supervised tokens"
    in_words = json.loads(run_here("weights", scored_file, "balanced", "--json").out)
    shares = [
        one["weightings"]["balanced"]["gradient_share_by_severity"] for one in (found, in_words)
    ]
    assert shares[0] != shares[1]
    assert sum(shares[0].values()) == pytest.approx(1)


def test_without_responses_examples_count_alike(tmp_path: Path) -> None:
    probabilities = {"p_non_critical": 0.2, "p_neutral": 0.3, "p_critical": 0.5}
    rows = [{"complaint": one.complaint, **probabilities} for one in few_consultations()]
    file = tmp_path / "asked.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = run_here("weights", file, "balanced", "--json")
    assert done.code == 0, done.shown
    found = json.loads(done.out)
    assert found["lengths"] == "examples"
    assert found["weightings"]["balanced"]["mean"] == pytest.approx(0.5 * 0.2 + 0.3 + 1.5 * 0.5)


def test_flat_weights_are_warned_about_by_name(tmp_path: Path) -> None:
    flat = {"p_non_critical": 0.35, "p_neutral": 0.36, "p_critical": 0.29}
    file = write_consultations(tmp_path / "flat.jsonl", few_consultations(), **flat)
    done = run_here("weights", file, "uniform", "balanced", "balanced,sharpness=40")
    assert done.code == 0, done.shown
    assert "balanced: the weights are nearly flat" in done.err
    assert "uniform: " not in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sever"], "there is no weighting 'sever'"),
        (["gamma=-1"], "gamma"),
        (["gama=2"], "did you mean 'gamma'"),
        (["severity=hard,sharpness=2"], "leave it at 1"),
        (["strong", "--out", "weights.gif"], "plots are not written as .gif"),
        (["strong", "--model", "/no/such/model"], "/no/such/model"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], said: str, scored_file: Path) -> None:
    done = run_here("weights", scored_file, *arguments)
    assert done.code == 2, done.shown
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_file_without_probabilities_is_told_what_to_do(labelled_file: Path) -> None:
    done = run_here("weights", labelled_file, "balanced")
    assert done.code == 2
    assert str(labelled_file) in done.err.replace("\n", "")
    assert "tarjih severity score" in done.err
    by_people = run_here("weights", labelled_file, "strong,severity=labelled", "uniform")
    assert by_people.code == 0, by_people.shown


def test_training_takes_the_settings_of_contrast(
    scored_file: Path, labelled_file: Path, plan: dict[str, Any], tmp_path: Path
) -> None:
    config = {
        "model": plan["models"][0],
        "train": str(scored_file),
        "out": "given below",
        "weighting": {"alpha": 0.5, "beta": 1.0, "gamma": 1.5, "sharpness": 3},
        "loading": plan["loading"],
        "training": {**plan["training"], "max_steps": 1},
    }
    file = write_plan(tmp_path / "train.yaml", config)
    done = run_here("train", file, f"out={tmp_path / 'sharp'}")
    assert done.code == 0, done.shown
    rows = pq.read_table(scored_file).to_pylist()
    p = np.array([[row[name] for name in PROBABILITY_COLUMNS] for row in rows]) ** 3
    weights = (p / p.sum(axis=1, keepdims=True)) @ np.array([0.5, 1, 1.5])
    run = json.loads((tmp_path / "sharp" / "run.json").read_text(encoding="utf-8"))
    assert run["weights"]["mean"] == pytest.approx(weights.mean())
    assert run["weights"]["maximum"] == pytest.approx(weights.max())
    assert sum(run["weights"]["gradient_share_by_severity"].values()) == pytest.approx(1)

    # What people said needs no annotator.
    oracle = [f"out={tmp_path / 'oracle'}", f"train={labelled_file}"]
    told = ["weighting={alpha: 0.5, beta: 1, gamma: 1.5, severity: labelled}"]
    done = run_here("train", file, *oracle, *told)
    assert done.code == 0, done.shown
    run = json.loads((tmp_path / "oracle" / "run.json").read_text(encoding="utf-8"))
    assert run["weights"]["mean_by_severity"] == {
        "non_critical": 0.5,
        "neutral": 1.0,
        "critical": 1.5,
    }
