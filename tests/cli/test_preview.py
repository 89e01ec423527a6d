from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Finished, run_here
from report.page import Page
from small_world import few_consultations, write_consultations, write_plan

ISOLATED = re.compile("[\u2066-\u2068][^\u2066-\u2069]*\u2069")
ARABIC = re.compile("[\u0600-\u06ff]")


@pytest.fixture
def config(scored_file: Path, model_folder: Path, plan: dict[str, Any], tmp_path: Path) -> Path:
    """A training run whose model has no weights: a preview must not miss them."""
    bare = tmp_path / "bare"
    shutil.copytree(model_folder, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    settings = {
        "model": str(bare),
        "train": str(scored_file),
        "out": str(tmp_path / "run"),
        "weighting": "balanced",
        "loading": plan["loading"],
        "training": plan["training"],
    }
    return write_plan(tmp_path / "train.yaml", settings)


def _refused(done: Finished, *said: object) -> None:
    assert done.code == 2, done.shown
    assert "Error: " in done.err
    assert "\nWhat to do: " in done.err
    for text in said:
        assert str(text) in done.err
    assert not ARABIC.search(done.shown)


def test_tokens_are_printed(config: Path, tmp_path: Path) -> None:
    done = run_here("preview", config)
    assert done.code == 0, done.shown
    assert re.search(r"Examples +30 +\n", done.out)
    assert re.findall(r"Example (\d) of (\d)", done.out) == [("1", "3"), ("2", "3"), ("3", "3")]
    assert done.out.count("End of sequence (1 token, supervised)") == 3
    assert "<eos>" in done.out
    assert ARABIC.search(done.out)
    assert not ARABIC.search(ISOLATED.sub("", done.out))
    assert not (tmp_path / "run").exists()
    assert run_here("preview", config).out == done.out


def test_overrides_and_the_number_of_examples(config: Path) -> None:
    done = run_here(
        *("preview", config, "training.max_tokens=200", "training.long_responses=drop"),
        *("weighting=mild", "--examples", 1),
    )
    assert done.code == 0, done.shown
    assert "of at most 200" in done.out
    assert "0.75 non-critical, 1 neutral, 1.25" in done.out
    shortened = re.search(r"Shortened complaints +(\d+)", done.out)
    assert shortened is not None
    assert int(shortened[1]) > 0
    assert "Dropped: the model never sees this" in done.out


def test_a_page_is_written_instead(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "page.html"
    done = run_here("preview", config, "--out", out)
    assert done.code == 0, done.shown
    assert f"Written to {out}\n" in done.out
    assert not ARABIC.search(done.shown)
    page = Page(out.read_text(encoding="utf-8"))
    assert page.mismatches == page.open_tags == []
    assert sum(attrs.get("class") == "example" for _, attrs in page.tags) == 3
    assert ARABIC.search(page.text)


def test_flat_weights_are_warned_of(config: Path) -> None:
    flat = "weighting={alpha: 1, beta: 1, gamma: 1.01}"
    done = run_here("preview", config, flat, "--examples", 2)
    assert done.code == 0, done.shown
    assert "Example 2 of 2" in done.out
    assert "Warning: the weights are nearly flat" in done.out


def test_the_settings_of_an_experiment_are_refused(plan_file: Path) -> None:
    _refused(run_here("preview", plan_file), plan_file, "settings of an experiment (tarjih run)")


def test_what_training_would_refuse_is_refused(
    config: Path, scored_file: Path, tmp_path: Path
) -> None:
    _refused(run_here("preview", tmp_path / "no.yaml"), "no such settings file")
    _refused(run_here("preview", config, "modle=x"), config, "did you mean 'model'?")
    _refused(run_here("preview", config, "train=no.csv"), "no.csv")
    _refused(run_here("preview", config, f"model={tmp_path}"), tmp_path, "holds no model")
    long = run_here("preview", config, "training.max_tokens=64")
    _refused(long, scored_file, "longer than max_tokens = 64")
    plain = write_consultations(tmp_path / "plain.jsonl", few_consultations())
    _refused(run_here("preview", config, f"train={plain}"), plain, "probabilities")
    assert run_here("preview", config, "--examples", 0).code == 2


def test_nothing_that_is_read_is_overwritten(config: Path, labelled_file: Path) -> None:
    before = (config.read_bytes(), labelled_file.read_bytes())
    _refused(run_here("preview", config, "--out", config), "what the command reads")
    bare = [f"train={labelled_file}", "weighting=uniform"]
    _refused(run_here("preview", config, *bare, "--out", labelled_file), "what the command reads")
    validation = f"validation={labelled_file}"
    _refused(run_here("preview", config, validation, "--out", labelled_file), "command reads")
    assert (config.read_bytes(), labelled_file.read_bytes()) == before
