from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest

import tarjih
from tarjih.records import Consultation, Severity, SeverityDistribution
from tarjih.signature import hash_of_consultations, hash_of_model_folder, versions

CONSULTATIONS = [
    Consultation("1", "complaint", "response"),
    Consultation(
        "2",
        "\u0635\u062f\u0627\u0639",  # suda': headache
        "rest",
        "neurology",
        "gulf",
        Severity.NEUTRAL,
        SeverityDistribution(0.2, 0.5, 0.3),
    ),
]


def test_versions_of_what_decides_a_result_are_there() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["tarjih"] == tarjih.__version__
    assert {"torch", "transformers", "peft"} <= set(found)
    assert all(found.values())


def test_the_hash_of_consultations_repeats() -> None:
    again = [replace(consultation) for consultation in CONSULTATIONS]
    assert hash_of_consultations(again) == hash_of_consultations(CONSULTATIONS)


@pytest.mark.parametrize(
    "other",
    [
        [],
        CONSULTATIONS[:1],
        CONSULTATIONS[::-1],
        [CONSULTATIONS[0], replace(CONSULTATIONS[1], complaint="headache")],
        [CONSULTATIONS[0], replace(CONSULTATIONS[1], response="rest.")],
        [CONSULTATIONS[0], replace(CONSULTATIONS[1], labelled_severity=Severity.CRITICAL)],
        [
            CONSULTATIONS[0],
            replace(CONSULTATIONS[1], probabilities=SeverityDistribution(0.2, 0.4999, 0.3001)),
        ],
    ],
)
def test_any_change_of_consultations_changes_the_hash(other: list[Consultation]) -> None:
    assert hash_of_consultations(other) != hash_of_consultations(CONSULTATIONS)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"layers": 2}')
    (tmp_path / "tokenizer.model").write_bytes(b"pieces")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    return tmp_path


def test_the_hash_of_a_model_folder_repeats_elsewhere(
    model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("copy")
    for file in sorted(model_folder.iterdir(), reverse=True):
        (other / file.name).write_bytes(file.read_bytes())
    (other / "folder").mkdir()  # caches beside a model are no part of it
    assert hash_of_model_folder(other) == hash_of_model_folder(model_folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"layers": 3}'),
        ("tokenizer.model", b"piecez"),
        ("model.safetensors", b"\0" * 101),
        ("added.txt", b""),
    ],
)
def test_a_changed_model_folder_has_another_hash(
    model_folder: Path, name: str, content: bytes
) -> None:
    before = hash_of_model_folder(model_folder)
    (model_folder / name).write_bytes(content)
    assert hash_of_model_folder(model_folder) != before


def test_a_renamed_file_changes_the_hash(model_folder: Path) -> None:
    before = hash_of_model_folder(model_folder)
    (model_folder / "config.json").rename(model_folder / "configuration.json")
    assert hash_of_model_folder(model_folder) != before
