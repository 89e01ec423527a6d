from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from small_world import few_consultations, write_plan
from tarjih.cli.jobs import read_run_config, training_job
from tarjih.errors import DataError, SettingsError


@pytest.fixture
def config(scored_file: Path, labelled_file: Path, plan: dict[str, Any], tmp_path: Path) -> Path:
    return write_plan(
        tmp_path / "train.yaml",
        {
            "model": plan["models"][0],
            "train": str(scored_file),
            "validation": str(labelled_file),
            "out": str(tmp_path / "run"),
            "weighting": "strong",
            "loading": plan["loading"],
            "training": plan["training"],
        },
    )


def test_a_job_is_what_the_settings_say(config: Path, plan: dict[str, Any]) -> None:
    chosen = read_run_config(config, ["seed=7", "training.max_steps=5"])
    job = training_job(chosen)
    assert [one.id for one in job.train] == [one.id for one in few_consultations()]
    assert all(one.probabilities is not None for one in job.train)
    assert [one.probabilities for one in job.validation] == [None] * len(few_consultations())
    assert (job.model, job.seed, job.training.max_steps) == (plan["models"][0], 7, 5)
    assert job.weighting.gamma == 1.75
    assert (job.prompt, job.model_settings) == (chosen.prompt, chosen.loading)


def test_no_validation_is_an_empty_one(config: Path) -> None:
    assert training_job(read_run_config(config, ["validation=null"])).validation == []


def test_probabilities_are_wanted_unless_the_weighting_is_uniform(
    config: Path, labelled_file: Path
) -> None:
    bare = f"train={labelled_file}"
    with pytest.raises(DataError, match="probabilities"):
        training_job(read_run_config(config, [bare]))
    assert len(training_job(read_run_config(config, [bare, "weighting=uniform"])).train) == 30


def test_remedies_name_no_options_of_other_commands(config: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "odd.csv"
    sheet.write_text("foo,bar\na,b\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        training_job(read_run_config(config, [f"train={sheet}"]))
    assert caught.value.file == str(sheet)
    assert "--" not in caught.value.remedy


@pytest.mark.parametrize("overrides", [[], ["training.max_steps=5"], ["model=x"]])
def test_the_settings_of_an_experiment_are_told_apart(
    plan_file: Path, overrides: list[str]
) -> None:
    with pytest.raises(SettingsError, match="settings of an experiment") as caught:
        read_run_config(plan_file, overrides)
    assert "tarjih run" in str(caught.value)
    assert "train-example.yaml" in caught.value.remedy


def test_faults_of_a_run_s_settings_are_told_as_they_are(config: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'max_steps'"):
        read_run_config(config, ["training.max_stepz=5"])
