from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tarjih.config import ExperimentConfig, RunConfig
from tarjih.errors import SettingsError
from tarjih.settings import load_settings, make_settings
from tarjih.severity.annotator import ANNOTATOR_CLASSES
from tarjih.severity.kinds import annotator_settings
from tarjih.weighting import PRESETS, Weighting

ROOT = Path(__file__).parent.parent
OF_ACCELERATE = ROOT / "configs" / "accelerate"
LAUNCHERS = sorted(OF_ACCELERATE.rglob("*.y*ml"))
OF_ANNOTATORS = sorted((ROOT / "configs" / "severity").rglob("*.y*ml"))
CONFIGS = sorted(set((ROOT / "configs").rglob("*.y*ml")) - {*LAUNCHERS, *OF_ANNOTATORS})
MINIMAL: dict[str, Any] = {
    "name": "small",
    "data": {"sources": ["bundled:consultations"]},
    "models": ["packaged:gemma-3-270m"],
    "conditions": ["base"],
}
WIDE = {"alpha": 0.1, "beta": 1.0, "gamma": 3.0, "normalise": "mean"}


def experiment(**change: Any) -> ExperimentConfig:
    return make_settings(ExperimentConfig, {**MINIMAL, **change})


def refused(**change: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        experiment(**change)
    return str(caught.value)


def test_conditions_as_a_list_keep_their_order() -> None:
    conditions = experiment(conditions=["strong", "base", {"wide": WIDE}, "shuffled"]).conditions
    assert list(conditions) == ["strong", "base", "wide", "shuffled"]
    assert conditions["base"] is None
    assert conditions["wide"] == Weighting(alpha=0.1, beta=1.0, gamma=3.0, normalise="mean")
    strong, shuffled = conditions["strong"], conditions["shuffled"]
    assert strong is not None
    assert strong.settings == PRESETS["strong"]
    assert shuffled is not None
    assert shuffled.shuffled
    assert shuffled.settings == PRESETS["balanced"]


def test_conditions_as_a_mapping_are_the_same() -> None:
    listed = experiment(conditions=["base", {"plain": "uniform"}, {"wide": WIDE}])
    mapped = experiment(conditions={"base": "base", "plain": "uniform", "wide": WIDE})
    assert mapped == listed
    assert list(mapped.conditions) == list(listed.conditions)


def test_a_condition_that_is_there_twice_is_refused() -> None:
    assert "'base' is there twice" in refused(conditions=["base", "uniform", "base"])
    assert "'mild' is there twice" in refused(conditions=["mild", {"mild": WIDE}])


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "a\\b", "a:b", "a*", "a\0b"])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    assert f"the condition's name {name!r} cannot be the name of a folder" in refused(
        conditions=[{name: WIDE}]
    )


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], "at least 1 item"),
        (["mildd"], "conditions.mildd: there is no weighting 'mildd'; known: uniform, mild,"),
        ([["mild"]], "a condition is a name or `name: weighting`, not ['mild']"),
        ([3], "a condition is a name or `name: weighting`, not 3"),
        ([None], "a condition is a name or `name: weighting`, not None"),
        ("mild", "conditions: input should be a valid dictionary"),
        ([{"x": {"alpha": 1}}], "conditions.x.beta: this key is required"),
        ([{"x": {**WIDE, "delta": 1}}], "conditions.x.delta: there is no such key"),
        ([{"x": {**WIDE, "gamma": -1}}], "conditions.x.gamma: input should be greater than"),
        ([{"x": {**WIDE, "gamma": float("inf")}}], "conditions.x.gamma: input should be a finite"),
        ([{"x": {"alpha": 0, "beta": 0, "gamma": 0}}], "nothing would be learnt"),
    ],
)
def test_conditions_that_cannot_be_used_are_refused(conditions: Any, expected: str) -> None:
    assert expected in refused(conditions=conditions)


@pytest.mark.parametrize("what", ["models", "seeds"])
def test_the_same_model_or_seed_twice_is_refused(what: str) -> None:
    assert f"{what} lists something twice" in refused(
        **{what: [1, 1] if what == "seeds" else ["a", "a"]}
    )


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5])
def test_seeds_that_the_libraries_would_refuse_later_are_refused(seed: float) -> None:
    assert "seeds.0: input should be" in refused(seeds=[seed])


def test_the_annotators_folder_is_named_exactly_when_it_is_used() -> None:
    assert "exactly when severity.source is model" in refused(severity={"source": "model"})
    assert "exactly when severity.source is model" in refused(severity={"model": "annotator"})
    config = experiment(severity={"source": "model", "model": "annotator"})
    assert config.severity.model == Path("annotator")


def test_faults_of_all_stages_are_told_at_once() -> None:
    message = refused(
        models=[], training={"lora": {"rnk": 4}}, generation={"max_new_tokens": 0}, sedes=[1]
    )
    assert message.startswith("4 faults in the settings")
    assert "training.lora.rnk: there is no such key; did you mean 'rank'?" in message
    assert "sedes: there is no such key; did you mean 'seeds'?" in message


@pytest.mark.parametrize("weighting", ["balanced", {"alpha": 0.5, "beta": 1.0, "gamma": 1.5}])
def test_a_run_takes_a_preset_or_numbers(weighting: Any) -> None:
    run = {"model": "m", "train": "a.jsonl", "out": "runs/a", "weighting": weighting}
    assert make_settings(RunConfig, run).weighting.settings == PRESETS["balanced"]


def test_a_run_needs_a_weighting_and_a_usable_seed() -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings(RunConfig, {"model": "m", "train": "a", "out": "b", "seed": -1})
    assert "weighting: this key is required" in str(caught.value)
    assert "seed: input should be greater than or equal to 0" in str(caught.value)


def test_there_are_settings_files() -> None:
    assert ROOT / "configs" / "bundled.yaml" in CONFIGS


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_every_settings_file_is_valid_and_starts_with_its_command(file: Path) -> None:
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    found = re.match(r"# tarjih (run|train) (\S+)( --out \S+)?(\s|$)", first)
    assert found, f"{file.name} must start with `# tarjih run|train` and its own path"
    assert found[2] == file.relative_to(ROOT).as_posix()
    assert (found[1] == "run") == (found[3] is not None)  # `tarjih train` reads it from the file
    load_settings(ExperimentConfig if found[1] == "run" else RunConfig, file)


def test_there_are_launchers_and_the_document_names_each() -> None:
    names = [file.stem for file in LAUNCHERS]
    assert names == ["ddp", "deepspeed-zero2", "deepspeed-zero3", "fsdp2"]
    text = (ROOT / "docs" / "many-gpus.md").read_text(encoding="utf-8")
    for name in names:
        assert f"`{name}`" in text


@pytest.mark.parametrize("file", LAUNCHERS, ids=lambda file: file.name)
def test_every_launcher_is_what_accelerate_reads_and_starts_with_its_command(file: Path) -> None:
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    path = file.relative_to(ROOT).as_posix()
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    assert first == f"# accelerate launch --config_file {path} -m tarjih train CONFIG"
    config = load_config_from_file(str(file))  # refuses keys that it does not know
    assert isinstance(config, ClusterConfig)
    kinds = {"ddp": "MULTI_GPU", "fsdp2": "FSDP"}
    assert str(config.distributed_type.value) == kinds.get(file.stem, "DEEPSPEED")
    assert (config.num_processes, config.num_machines, config.mixed_precision) == (2, 1, "no")
    # What is within is not checked there: it is copied onto options of `accelerate launch`.
    options = vars(launch_command_parser().parse_args(["script"]))
    for key, value in {**config.fsdp_config, **config.deepspeed_config}.items():
        assert key in options, key
        assert isinstance(value, (str, int, bool))
    if file.stem.startswith("deepspeed"):
        assert config.deepspeed_config["zero_stage"] == int(file.stem[-1])


def test_an_experiment_may_fit_any_annotator() -> None:
    chosen = experiment(severity={"annotator": {"kind": "lexicon", "folds": 3}}).severity.annotator
    assert (chosen.kind, chosen.folds) == ("lexicon", 3)
    assert experiment().severity.annotator.kind == "linear"
    fault = refused(severity={"annotator": {"kind": "linear", "longest_ngrams": 3}})
    assert "severity.annotator.longest_ngrams: there is no such key; did you mean" in fault


@pytest.mark.parametrize("file", OF_ANNOTATORS, ids=lambda file: file.stem)
def test_shipped_settings_of_annotators_are_valid_and_say_how_to_use_them(file: Path) -> None:
    chosen = annotator_settings(str(file))
    assert chosen.kind in ANNOTATOR_CLASSES
    name = file.relative_to(ROOT).as_posix()
    assert f"tarjih severity fit labelled.xlsx --kind {name} --out" in file.read_text("utf-8")
