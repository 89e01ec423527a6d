"""Each architecture of the paper from its training to its answers, with LoRA and in full."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from tarjih.data.prompt import PromptSettings
from tarjih.generation.answer import Answer, answer_batch
from tarjih.generation.generate import generate
from tarjih.generation.settings import GenerationSettings
from tarjih.generation.source import base_model, finished_run
from tarjih.models.load import LoadedModel, load_causal_model, pad_token_id
from tarjih.models.lora import LoraSettings, add_lora
from tarjih.models.prompt_tokens import PromptEncoder
from tarjih.progress import Reporter
from tarjih.training import train as module
from tarjih.training.build import make_trainer
from tarjih.training.collate import WeightedCollator
from tarjih.training.head import weighted_forward
from tarjih.training.job import TrainingJob
from tarjih.training.run_folder import read_run
from tarjih.training.settings import TrainingSettings
from tarjih.training.train import train
from tarjih.training.weighed import weigh_examples
from tarjih.weighting import Weighting
from tiny_models import (
    ARCHITECTURES,
    FLOAT32,
    TEXTS,
    TinyFolder,
    make_consultations,
    move_adapters,
)

from .conftest import MakeJob, Recorder, make_examples
from .paths import InFloat64

TinyModel = Callable[..., LoadedModel]

# GPT-2's own tokenizer has one special token, which begins, ends and fills.
CASES = [*((name, False) for name in ARCHITECTURES), ("gpt2", True)]
# Names of the adapted layers, their number, and their inputs and outputs in all: a pair of
# matrices of rank r has r parameters for each.
_USUAL = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
_USUAL_WIDTHS = 2 * (2 * (16 + 16) + 2 * (16 + 8) + 3 * (16 + 32))
ADAPTED = {
    "gemma3": (_USUAL, 14, _USUAL_WIDTHS),
    "qwen2": (_USUAL, 14, _USUAL_WIDTHS),
    "qwen3": (_USUAL, 14, _USUAL_WIDTHS),
    "gpt2": ("c_attn, c_fc, c_proj", 8, 2 * ((16 + 48) + (16 + 16) + 2 * (16 + 64))),
    "bloom": (
        "dense, dense_4h_to_h, dense_h_to_4h, query_key_value",
        8,
        2 * ((16 + 48) + (16 + 16) + 2 * (16 + 64)),
    ),
    "lfm2": (
        "in_proj, k_proj, out_proj, q_proj, v_proj, w1, w2, w3",
        12,
        (16 + 48) + (16 + 16) + 2 * (16 + 16) + 2 * (16 + 8) + 6 * (16 + 256),
    ),
}
IDS = [f"{name}{'-one-special' if one_special else ''}" for name, one_special in CASES]
ROWS = make_consultations(5)
GREEDY = GenerationSettings(max_new_tokens=8, batch_size=2)


@dataclass
class Trained:
    """A finished run, and what its model said before it was saved."""

    job: TrainingJob
    folder: Path
    notes: list[str]
    logits: Tensor
    answers: list[Answer]

    @property
    def full(self) -> bool:
        return self.job.training.method == "full"

    def weights(self, folder: Path | None = None) -> bytes:
        file = "model/model.safetensors" if self.full else "adapter/adapter_model.safetensors"
        return ((folder or self.folder) / file).read_bytes()


def logits_of(model: Any, tokenizer: Any) -> Tensor:
    ids = tokenizer(" ".join(TEXTS), return_tensors="pt")
    with torch.no_grad():
        result: Tensor = model.eval()(**ids).logits
    return result


def answers_of(loaded: LoadedModel, encoder: PromptEncoder) -> list[Answer]:
    return answer_batch(loaded, encoder, [row.complaint for row in ROWS], GREEDY, seed=1)


def train_and_keep(job: TrainingJob, folder: Path, reporter: Reporter) -> Any:
    """Train; the trainer's own model."""
    kept: list[Any] = []

    def keep(*arguments: Any) -> Any:
        kept.append(make_trainer(*arguments))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "make_trainer", keep)
        train(job, folder, reporter)
    return kept[0].model.eval()


@pytest.fixture(scope="module", params=["lora", "full"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def trained(
    method: str,
    request: pytest.FixtureRequest,
    make_job: MakeJob,
    tiny_folder: TinyFolder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    job = make_job(
        model=str(tiny_folder(*request.param)),
        method=method,
        max_steps=4,
        checkpoint_every=2,
        validate_every=2,
    )
    folder = tmp_path_factory.mktemp("trained") / "run"
    recorder = Recorder()
    model = train_and_keep(job, folder, recorder)
    tokenizer = load_causal_model(job.model, FLOAT32).tokenizer
    loaded = LoadedModel(job.model, model, tokenizer)
    return Trained(
        job=job,
        folder=folder,
        notes=recorder.notes,
        logits=logits_of(model, tokenizer),
        answers=answers_of(loaded, PromptEncoder(tokenizer, PromptSettings())),
    )


def test_the_model_that_answers_is_the_one_that_was_trained(trained: Trained) -> None:
    loaded, encoder = finished_run(trained.folder).load()
    found = logits_of(loaded.model, loaded.tokenizer)
    torch.testing.assert_close(found, trained.logits, rtol=0, atol=0)
    assert answers_of(loaded, encoder) == trained.answers
    untouched, _ = base_model(trained.job.model, settings=FLOAT32).load()
    assert (logits_of(untouched.model, loaded.tokenizer) - trained.logits).abs().max() > 0.1


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    trained: Trained, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(trained.job, out, Recorder(stop_after=3))
    recorder = Recorder()
    resumed = train(trained.job, out, recorder).training
    assert "going on from checkpoint-2" in recorder.notes
    assert trained.weights(out) == trained.weights()
    straight = read_run(trained.folder).training
    losses = [point.validation_loss for point in straight.history if point.validation_loss]
    assert len(set(losses)) == 3
    assert resumed == straight.model_copy(update={"seconds": resumed.seconds})


def test_a_run_answers_complaints(trained: Trained, tmp_path: Path) -> None:
    generations = generate(finished_run(trained.folder), ROWS, tmp_path / "answers.jsonl", GREEDY)
    assert [g.id for g in generations] == [row.id for row in ROWS]
    assert [g.answer for g in generations] == [answer.text for answer in trained.answers]
    assert all(g.reference_loss is not None and g.reference_loss > 0 for g in generations)


def test_a_full_run_leaves_a_model_that_transformers_loads(trained: Trained) -> None:
    assert {path.name for path in trained.folder.iterdir()} == {
        "model" if trained.full else "adapter",
        "plan.json",
        "run.json",
        "tensorboard",
    }
    if not trained.full:
        return
    folder = trained.folder / "model"
    files = {path.name for path in folder.iterdir()}
    assert files >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {Path(name).suffix for name in files} <= {".json", ".safetensors", ".jinja"}
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert torch.equal(logits_of(model, tokenizer), trained.logits)


def test_a_tied_head_stays_tied(trained: Trained) -> None:
    model = finished_run(trained.folder).load()[0].model
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    assert model.config.tie_word_embeddings
    assert head.weight is embedding.weight
    if trained.full:
        stored = load_file(trained.folder / "model" / "model.safetensors")
        shapes = [tensor.shape for tensor in stored.values()]
        assert shapes.count(head.weight.shape) == 1
        before = load_causal_model(trained.job.model, FLOAT32).model.get_input_embeddings().weight
        assert not torch.equal(head.weight, before)


def test_the_run_says_what_it_trains(trained: Trained) -> None:
    model = load_causal_model(trained.job.model, FLOAT32).model
    if trained.full:
        count = sum(parameter.numel() for parameter in model.parameters())
        expected = f"full fine-tuning of {count:,} parameters"
    else:
        names, layers, widths = ADAPTED[Path(trained.job.model).name.partition("-")[0]]
        count = trained.job.training.lora.rank * widths
        expected = f"LoRA of rank 2 on {layers} layers ({names}): {count:,} parameters"
    assert expected in trained.notes
    assert read_run(trained.folder).training.trainable_parameters == count


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_learns_to_stop_though_its_end_token_is_its_padding(
    architecture: str, tiny_folder: TinyFolder, make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [replace(row, response="نعم") for row in make_consultations(12)]
    job = make_job(
        model=str(tiny_folder(architecture, one_special=True)),
        method="full",  # adapters cannot do it on random weights, but for GPT-2's
        train=rows,
        validation=[],
        max_steps=30,
        epochs=100,
        batch_size=12,
        accumulation_steps=1,
        learning_rate=2e-2,
        schedule="constant",
        checkpoint_every=1000,
        report_to=[],
    )
    train(job, tmp_path / "run")
    loaded, encoder = finished_run(tmp_path / "run").load()
    complaints = [row.complaint for row in rows]
    answers = answer_batch(loaded, encoder, complaints, GREEDY, seed=1)
    assert {(answer.text, answer.stopped) for answer in answers} == {("نعم", True)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_end_token_has_the_weight_of_its_example(
    architecture: str, tiny_model: TinyModel
) -> None:
    loaded = tiny_model(architecture, one_special=True)
    model = loaded.model.double()
    encoder = PromptEncoder(loaded.tokenizer, PromptSettings())
    rows = make_consultations(4)
    weighed = weigh_examples(
        rows,
        encoder,
        weighting=Weighting(alpha=0.5, beta=1, gamma=1.5),
        training=TrainingSettings(),
        seed=1,
    )
    batch = WeightedCollator(pad_token_id(loaded.tokenizer))(weighed.examples)
    with InFloat64():
        weighted_forward(model, batch).total.backward()  # type: ignore[no-untyped-call]
        found = {name: p.grad.clone() for name, p in model.named_parameters()}
        ends, texts = [], []
        for row in rows:
            assert row.probabilities is not None
            mild, neutral, severe = row.probabilities.as_tuple()
            weight = 0.5 * mild + neutral + 1.5 * severe
            prompt, response = encoder.prompt(row.complaint).ids, encoder.response(row.response)
            assert response[-1] == loaded.tokenizer.eos_token_id == loaded.tokenizer.pad_token_id
            predicted = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
            of_tokens = -torch.log_softmax(predicted, dim=-1)[range(len(response)), response]
            texts.append(weight * of_tokens[:-1].sum())
            ends.append(weight * of_tokens[-1])
    names = [name for name, _ in model.named_parameters()]

    def gradient(losses: list[Tensor]) -> dict[str, Tensor]:
        found = torch.autograd.grad(
            torch.stack(losses).sum(), list(model.parameters()), retain_graph=True
        )
        return dict(zip(names, found, strict=True))

    # The batch has its weights in float32.
    torch.testing.assert_close(found, gradient(texts + ends), rtol=1e-6, atol=1e-6)
    of_ends = gradient(ends)
    assert max(float(one.abs().max()) for one in of_ends.values()) > 0.1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_recomputed_activations_give_every_architecture_the_same_gradient(
    method: str, architecture: str, tiny_model: TinyModel
) -> None:
    batch = WeightedCollator(0)(make_examples(4, weight=lambda index: 0.5 + index))
    found: list[dict[str, Tensor]] = []
    calls = [0, 0]

    def count(*_: object) -> None:
        calls[len(found)] += 1

    for recompute in (False, True):
        model = tiny_model(architecture).model
        if method == "lora":
            with torch.random.fork_rng():
                torch.manual_seed(1)
                model = add_lora(model, LoraSettings(rank=2, dropout=0))
            move_adapters(model)
        model = model.double().train()
        if recompute:
            model.enable_input_require_grads()
            model.activation_checkpointing_enable()
        for one in model.modules():
            one.register_forward_hook(count)
        weighted_forward(model, batch).total.backward()  # type: ignore[no-untyped-call]
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert found[0]
    assert calls[1] > 1.5 * calls[0]
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)


def test_two_full_runs_are_two_sources_of_answers(make_job: MakeJob, tmp_path: Path) -> None:
    identities = []
    for seed in (1, 2):
        job = make_job(
            method="full", max_steps=1, validation=[], seed=seed, schedule="constant", report_to=[]
        )
        train(job, tmp_path / str(seed))
        identities.append(finished_run(tmp_path / str(seed)).identity())
    assert identities[0]["trained_hash"] != identities[1]["trained_hash"]
    assert all(len(identity["trained_hash"]) == 1 for identity in identities)
    assert finished_run(tmp_path / "1").identity() == identities[0]


def test_a_full_run_that_was_stopped_before_its_record_only_writes_it(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    job = make_job("gpt2", method="full", max_steps=3)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_run", stop)
        with pytest.raises(KeyboardInterrupt):
            train(job, tmp_path / "run")
    file = tmp_path / "run" / "model" / "model.safetensors"
    before = file.read_bytes()
    assert train(job, tmp_path / "run").training.steps == 3
    assert file.read_bytes() == before
    assert finished_run(tmp_path / "run").load()


def test_a_stopped_full_run_goes_on_in_its_models_own_dropout(
    tiny_folder: TinyFolder, make_job: MakeJob, tmp_path: Path
) -> None:
    # AraGPT2 has it; the tiny models have none, for the sake of the other tests.
    folder = Path(shutil.copytree(tiny_folder("gpt2", one_special=True), tmp_path / "base"))
    dropout = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.1)
    change_json(folder / "config.json", dropout)
    job = make_job(model=str(folder), method="full", max_steps=3, checkpoint_every=2, validation=[])
    train(job, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(job, tmp_path / "run", Recorder(stop_after=3))
    train(job, tmp_path / "run")
    found, wanted = (
        (tmp_path / name / "model" / "model.safetensors").read_bytes()
        for name in ("run", "straight")
    )
    assert found == wanted


def change_json(file: Path, changes: dict[str, Any]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    "brought", [{"temperature": 0.3}, {"max_length": 50, "early_stopping": True}]
)
def test_settings_of_generation_that_contradict_themselves_do_not_end_a_run(
    brought: dict[str, Any], tiny_folder: TinyFolder, make_job: MakeJob, tmp_path: Path
) -> None:
    # Transformers refuses to save some of them, and models on the hub bring such.
    folder = Path(shutil.copytree(tiny_folder("gpt2"), tmp_path / "base"))
    change_json(folder / "generation_config.json", brought)
    job = make_job(model=str(folder), method="full", max_steps=1, validation=[])
    train(job, tmp_path / "run")
    loaded, encoder = finished_run(tmp_path / "run").load()
    assert len(answers_of(loaded, encoder)) == len(ROWS)
