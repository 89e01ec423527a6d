from __future__ import annotations

import errno
import pickletools
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from tarjih.data.prompt import PromptSettings
from tarjih.errors import DataError, FolderError, ModelError, WorkFailedError
from tarjih.files import read_json
from tarjih.generation.answer import answer_batch
from tarjih.generation.settings import GenerationSettings
from tarjih.generation.source import finished_run
from tarjih.models.load import load_tokenizer
from tarjih.models.lora import LoraSettings
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.records import SeverityDistribution
from tarjih.training import checkpoints, weighted_loss
from tarjih.training import train as module
from tarjih.training.batches import Passes
from tarjih.training.head import weighted_forward
from tarjih.training.job import TrainingJob
from tarjih.training.run_folder import read_run
from tarjih.training.train import train
from tarjih.training.weighed import weigh_examples
from tarjih.weighting import Weighting
from tiny_models import FLOAT32, TinyFolder, make_consultations

from .conftest import MakeJob, Recorder

CUT = Passes(packed=False, cut=True)
ADAPTER = Path("adapter") / "adapter_model.safetensors"


def interrupt(job: TrainingJob, out: Path, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(job, out, Recorder(stop_after=after))


def steps_of(out: Path) -> set[int]:
    return {int(path.name[11:]) for path in (out / "checkpoints").glob("checkpoint-*")}


@pytest.fixture(scope="module")
def straight_run(make_job: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(make_job(), folder)
    return folder


@pytest.fixture(scope="module")
def straight(straight_run: Path) -> bytes:
    """Its adapter."""
    return (straight_run / ADAPTER).read_bytes()


def test_a_run_folder_is_complete_and_nothing_is_printed(
    make_job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    finished = train(make_job(), tmp_path / "run", recorder)
    assert capsys.readouterr().out == ""
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "adapter",
        "plan.json",
        "run.json",
        "tensorboard",
    }
    summary = finished.training
    assert summary.steps == 6
    assert summary.examples == 12
    history = {point.step: point for point in summary.history}
    assert list(history) == list(range(7))
    measured = [step for step, point in history.items() if point.validation_loss is not None]
    assert measured == list(range(7))  # 6 // 4 = 1: at each step, and before the first
    assert history[0].loss is None
    for step in range(1, 7):
        point = history[step]
        assert point.loss is not None
        assert point.weighted_loss is not None
        assert point.learning_rate is not None
        assert 0.5 * point.loss < point.weighted_loss < 1.5 * point.loss
    assert recorder.stages == [("training", 6)]
    assert (recorder.done, recorder.open) == (6, 0)
    assert recorder.warnings == []
    assert read_run(tmp_path / "run") == finished
    record = read_json(tmp_path / "run" / "run.json")
    assert record["seed"] == 1
    assert record["signature"]["versions"].keys() >= {"torch", "transformers", "peft"}


def test_the_validation_loss_is_measured_where_it_is_asked_for(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(validate_every=4)
    history = train(job, tmp_path / "run").training.history
    measured = [point.step for point in history if point.validation_loss is not None]
    assert measured == [0, 4, 6]
    without = train(make_job(validation=[]), tmp_path / "without").training.history
    assert all(point.validation_loss is None for point in without)


def test_the_same_job_gives_the_same_adapter_and_another_seed_another(
    make_job: MakeJob, straight: bytes, tmp_path: Path
) -> None:
    train(make_job(), tmp_path / "again")
    assert (tmp_path / "again" / ADAPTER).read_bytes() == straight
    train(make_job(seed=2), tmp_path / "other")
    assert (tmp_path / "other" / ADAPTER).read_bytes() != straight


def test_a_finished_run_is_returned_without_work(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = train(make_job(), tmp_path / "run")

    def fail(*args: object) -> None:
        raise AssertionError("a finished run needs no model")

    monkeypatch.setattr(module, "load_trainable", fail)
    assert train(make_job(), tmp_path / "run") == finished


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 2}, "seed"), ({"learning_rate": 3e-3}, "training"), ({"train": []}, "train_hash")],
)
def test_a_folder_of_another_run_is_left_alone(
    change: dict[str, Any], named: str, make_job: MakeJob, tmp_path: Path
) -> None:
    interrupt(make_job(), tmp_path / "run", after=1)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FolderError, match=rf"another run \(different: {named}\)"):
        train(make_job(**change), tmp_path / "run")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_something_else_is_left_alone(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(FolderError, match="not empty"):
        train(make_job(), tmp_path)
    with pytest.raises(FolderError, match="not empty"):
        train(make_job(), tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("after", [2, 3, 5])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    after: int, make_job: MakeJob, straight_run: Path, straight: bytes, tmp_path: Path
) -> None:
    interrupt(make_job(), tmp_path / "run", after)
    recorder = Recorder()
    resumed = train(make_job(), tmp_path / "run", recorder)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == straight
    assert recorder.done == 6
    assert any("checkpoint-3" in note for note in recorder.notes) == (after > 3)
    assert resumed.training.history == read_run(straight_run).training.history


def test_a_run_that_was_stopped_before_its_record_was_written_only_writes_it(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    job = make_job(max_steps=5)  # in the middle of the second epoch
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_run", stop)
        with pytest.raises(KeyboardInterrupt):
            train(job, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()
    before = (tmp_path / "run" / ADAPTER).read_bytes()
    finished = train(job, tmp_path / "run")
    assert (tmp_path / "run" / ADAPTER).read_bytes() == before
    assert finished.training.steps == 5
    assert [point.step for point in finished.training.history] == list(range(6))


_KILLED = """
import os, pickle, signal, sys
from contextlib import contextmanager
from tarjih.progress import Reporter
from tarjih.training.train import train

class Killer(Reporter):
    done = 0
    @contextmanager
    def stage(self, name, total=None):
        yield self.advance
    def advance(self, steps):
        self.done += steps
        if self.done == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

with open(sys.argv[1], "rb") as file:
    job = pickle.load(file)
train(job, __import__("pathlib").Path(sys.argv[2]), Killer())
"""


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    make_job: MakeJob, straight: bytes, tmp_path: Path
) -> None:
    import pickle

    (tmp_path / "job").write_bytes(pickle.dumps(make_job()))
    arguments = [str(tmp_path / "job"), str(tmp_path / "run"), "5"]
    killed = subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert steps_of(tmp_path / "run") == {3}
    train(make_job(), tmp_path / "run")
    assert (tmp_path / "run" / ADAPTER).read_bytes() == straight


@pytest.mark.parametrize(
    "file", ["adapter_model.safetensors", "optimizer.safetensors", "trainer_state.json"]
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    file: str, make_job: MakeJob, straight: bytes, tmp_path: Path
) -> None:
    job = make_job(checkpoint_every=2)
    interrupt(job, tmp_path / "run", after=5)
    assert steps_of(tmp_path / "run") == {2, 4}
    damaged = tmp_path / "run" / "checkpoints" / "checkpoint-4" / file
    damaged.write_bytes(damaged.read_bytes()[:-20])
    recorder = Recorder()
    train(job, tmp_path / "run", recorder)
    assert any("going on from checkpoint-2" in note for note in recorder.notes)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == straight


def test_a_full_disk_costs_the_steps_since_the_last_checkpoint_only(
    make_job: MakeJob, straight: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(checkpoint_every=2)
    calls = []

    def full(*args: Any) -> None:
        calls.append(args)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        kept(*args)

    kept = save_file
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        with pytest.raises(OSError, match="No space left"):
            train(job, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()
    recorder = Recorder()
    train(job, tmp_path / "run", recorder)
    assert any("going on from checkpoint-2" in note for note in recorder.notes)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == straight


def test_nothing_in_a_run_folder_is_a_pickle(make_job: MakeJob, tmp_path: Path) -> None:
    interrupt(make_job(), tmp_path / "run", after=5)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert any(path.name == "optimizer.safetensors" for path in files)
    for path in files:
        if path.parent.name == "tensorboard":
            continue
        assert path.suffix in {".json", ".safetensors", ".md", ".jinja"}, path
        assert not zipfile.is_zipfile(path), path  # what torch.save writes
        with path.open("rb") as file, pytest.raises(ValueError, match=r".+"):
            list(pickletools.genops(file))


def test_seconds_count_what_was_spent_before_an_interruption(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        def __init__(self, tick: float) -> None:
            self.now, self.tick = 0.0, tick

        def monotonic(self) -> float:
            self.now += self.tick
            return self.now

    monkeypatch.setattr(weighted_loss, "time", Clock(1000))
    interrupt(make_job(), tmp_path / "run", after=5)
    state = read_json(tmp_path / "run" / "checkpoints" / "checkpoint-3" / "trainer_state.json")
    logged = [entry["seconds"] for entry in state["log_history"]]
    assert logged[-1] >= 3000
    monkeypatch.setattr(weighted_loss, "time", Clock(1))
    seconds = train(make_job(), tmp_path / "run").training.seconds
    assert logged[-1] < seconds < logged[-1] + 100
    assert all(earlier < later for earlier, later in pairwise(logged))


def test_recomputed_activations_change_nothing_but_memory(
    make_job: MakeJob, tmp_path: Path
) -> None:
    plain = train(make_job(max_steps=2), tmp_path / "plain")
    recomputed = train(make_job(max_steps=2, gradient_checkpointing=True), tmp_path / "recomputed")
    for name in ("loss", "validation_loss"):
        curves = [
            [getattr(point, name) for point in run.training.history if getattr(point, name)]
            for run in (plain, recomputed)
        ]
        assert len(curves[0]) >= 2
        assert curves[0] == pytest.approx(curves[1], rel=1e-5)


def test_a_model_learns_to_stop_though_its_end_token_is_its_padding(
    tiny_folder: TinyFolder, make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [replace(row, response="نعم") for row in make_consultations(12)]
    job = make_job(
        model=str(tiny_folder("gpt2", one_special=True)),
        train=rows,
        validation=[],
        max_steps=120,
        epochs=100,
        batch_size=4,
        accumulation_steps=1,
        checkpoint_every=1000,
        lora=LoraSettings(rank=8, dropout=0),
    )
    train(job, tmp_path / "run")
    settings = GenerationSettings(max_new_tokens=24)
    loaded, encoder = finished_run(tmp_path / "run").load()
    answers = answer_batch(loaded, encoder, [row.complaint for row in rows], settings, seed=1)
    assert all(answer.stopped for answer in answers)
    assert {answer.text for answer in answers} == {"نعم"}


def test_a_budget_of_tokens_is_kept_and_a_stopped_run_ends_as_if_it_had_not_been(
    make_job: MakeJob, tmp_path: Path
) -> None:
    budget = 150
    job = make_job("bloom", batch_size=12, batch_tokens=budget, max_steps=4, checkpoint_every=2)
    shapes: list[tuple[int, int]] = []

    def watch(model: Any, batch: dict[str, Any]) -> Any:
        if batch["weights"].any():  # else it stands for an empty part
            shapes.append((int(batch["attention_mask"].sum()), batch["input_ids"].numel()))
        return weighted_forward(model, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weighted_loss, "weighted_forward", watch)
        finished = train(job, tmp_path / "straight")
    assert 4 < len(shapes) <= 8
    assert max(size for _, size in shapes) <= budget
    real, padded = (sum(column) for column in zip(*shapes, strict=True))
    assert finished.training.padding_share == pytest.approx(1 - real / padded)
    encoder = PromptEncoder(load_tokenizer(job.model, FLOAT32), job.prompt)
    weighed = weigh_examples(
        job.train, encoder, weighting=job.weighting, training=job.training, seed=job.seed
    )
    assert finished.training.padding_share == weighed.padding_share(job.training, job.seed, CUT) > 0
    sizes = {len(part) for step in weighed.steps(job.training, job.seed) for part in step}
    assert len(sizes) > 1  # short examples share larger batches
    interrupt(job, tmp_path / "run", after=3)
    resumed = train(job, tmp_path / "run")
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (
        tmp_path / "straight" / ADAPTER
    ).read_bytes()
    assert resumed.training.padding_share == finished.training.padding_share


def test_a_run_that_diverges_says_so_and_closes_its_progress(
    make_job: MakeJob, tmp_path: Path
) -> None:
    recorder = Recorder()
    with pytest.raises(WorkFailedError, match="diverged"):
        train(make_job(learning_rate=1e30), tmp_path / "run", recorder)
    assert recorder.open == 0


def test_weights_that_are_nearly_equal_are_warned_of(make_job: MakeJob, tmp_path: Path) -> None:
    flat = SeverityDistribution(0.35, 0.36, 0.29)
    rows = [replace(row, probabilities=flat) for row in make_consultations(12)]
    recorder = Recorder()
    finished = train(make_job(train=rows, max_steps=1), tmp_path / "run", recorder)
    assert finished.weights.flat
    assert [warning for warning in recorder.warnings if "nearly flat" in warning]
    uniform = Weighting(alpha=1, beta=1, gamma=1)
    silent = Recorder()
    train(make_job(train=rows, max_steps=1, weighting=uniform), tmp_path / "uniform", silent)
    assert silent.warnings == []


def test_missing_probabilities_stop_the_run_before_a_model_is_loaded(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [replace(row, probabilities=None) for row in make_consultations(12)]
    uniform = Weighting(alpha=1, beta=1, gamma=1)
    train(make_job(train=rows, max_steps=1, weighting=uniform), tmp_path / "uniform")
    monkeypatch.setattr(module, "load_trainable", lambda *args: pytest.fail("loaded"))
    with pytest.raises(DataError, match="case-0 has no severity probabilities"):
        train(make_job(train=rows), tmp_path / "run")


def test_long_responses_stop_the_run_or_are_left_out_with_a_warning(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_consultations(12)
    rows[4] = replace(rows[4], response=rows[4].complaint * 20)
    recorder = Recorder()
    job = make_job(train=rows, max_steps=1, long_responses="drop")
    finished = train(job, tmp_path / "drop", recorder)
    assert finished.training.examples == 11
    assert finished.training.dropped_long_responses == 1
    assert any("1 examples were left out" in warning for warning in recorder.warnings)
    monkeypatch.setattr(module, "load_trainable", lambda *args: pytest.fail("loaded"))
    with pytest.raises(DataError, match="case-4"):
        train(make_job(train=rows), tmp_path / "stop")


def test_an_errors_advice_can_be_followed_in_the_same_folder(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = make_consultations(12)
    rows[4] = replace(rows[4], response=rows[4].complaint * 200)
    with pytest.raises(DataError, match=r"set training.max_tokens=(\d+) to keep") as caught:
        train(make_job(train=rows, max_steps=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    tokens = int(str(caught.value).split("training.max_tokens=")[1].split()[0])
    with pytest.raises(ModelError, match="reads at most 2048 tokens"):
        train(make_job(train=rows, max_steps=1, max_tokens=tokens), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    job = make_job(train=rows, max_steps=1, long_responses="drop")
    assert train(job, tmp_path / "run").training.examples == 11


def test_shortened_complaints_are_warned_of(make_job: MakeJob, tmp_path: Path) -> None:
    recorder = Recorder()
    finished = train(make_job(max_tokens=48, max_steps=1), tmp_path / "run", recorder)
    count = finished.training.truncated_complaints
    assert count > 0
    assert any(f"{count} complaints were shortened" in text for text in recorder.warnings)


def test_a_record_that_was_damaged_is_one_clear_error(make_job: MakeJob, tmp_path: Path) -> None:
    train(make_job(max_steps=1), tmp_path / "run")
    record = tmp_path / "run" / "run.json"
    whole = record.read_text()
    for damaged in (whole[:100], "{}", "[]", '{"training": {}, "weights": {}}'):
        record.write_text(damaged)
        with pytest.raises(DataError) as caught:
            train(make_job(max_steps=1), tmp_path / "run")
        assert caught.value.file == str(record)


def test_a_model_that_is_not_there_leaves_no_run_behind(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        train(make_job(model=str(tmp_path / "absent")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_plan_tells_jobs_apart_and_survives_json(make_job: MakeJob, tmp_path: Path) -> None:
    from tarjih.files import write_json

    plan = make_job().plan()
    write_json(tmp_path / "plan.json", plan)
    assert read_json(tmp_path / "plan.json") == plan
    template = PromptSettings(template="{complaint} ->")
    changed = make_job(prompt=template, model_settings=FLOAT32).plan()
    assert [key for key in plan if plan[key] != changed[key]] == ["prompt"]


def test_a_model_folder_that_changed_is_another_model(
    tiny_folder: TinyFolder, make_job: MakeJob, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder("qwen2"), tmp_path / "model"))
    job = make_job(model=str(folder))
    before = job.plan()
    (folder / "tokenizer_config.json").write_text("{}")
    assert job.plan()["model_hash"] != before["model_hash"]
