from __future__ import annotations

import json
from pathlib import Path

import pytest

from tarjih.errors import FolderError, ModelError
from tarjih.files import sha256_of
from tarjih.severity.annotator import (
    ANNOTATOR_CLASSES,
    Annotator,
    annotator_class,
    load_annotator,
    read_manifest,
)
from tarjih.severity.linear import LinearAnnotator


@pytest.fixture
def folder(annotator: LinearAnnotator, tmp_path: Path) -> Path:
    annotator.save(tmp_path / "annotator")
    return tmp_path / "annotator"


def change_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "annotator.json").read_text(encoding="utf-8"))
    changed = {**manifest, **changes}
    if "sha256" not in changes:  # seal it again, so that only the change itself is at fault
        changed["sha256"] = sha256_of({k: v for k, v in changed.items() if k != "sha256"})
    (folder / "annotator.json").write_text(json.dumps(changed), encoding="utf-8")


@pytest.mark.parametrize("kind", ANNOTATOR_CLASSES)
def test_every_registered_kind_is_a_class_of_that_kind(kind: str) -> None:
    found = annotator_class(kind)
    assert issubclass(found, Annotator)
    assert found.kind == kind


def test_a_folder_is_loaded_by_its_kind(folder: Path, annotator: LinearAnnotator) -> None:
    loaded = load_annotator(folder)
    assert isinstance(loaded, LinearAnnotator)
    assert loaded.signature() == annotator.signature()


def test_saving_again_replaces_an_annotator(folder: Path, annotator: LinearAnnotator) -> None:
    annotator.save(folder)
    assert load_annotator(folder).signature() == annotator.signature()
    assert [path.name for path in folder.parent.iterdir()] == ["annotator"]  # nothing left over


def test_an_empty_folder_may_be_filled(annotator: LinearAnnotator, tmp_path: Path) -> None:
    annotator.save(tmp_path)
    assert read_manifest(tmp_path).kind == "linear"


def test_someone_elses_folder_is_left_alone(annotator: LinearAnnotator, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match="not an annotator"):
        annotator.save(tmp_path)
    with pytest.raises(FolderError, match="not an annotator"):
        annotator.save(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_folder_without_a_manifest_is_no_annotator(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ModelError, match="not an annotator") as caught:
            load_annotator(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kind": "oracle"}, "no annotator of kind 'oracle'"),
        ({"format": "tarjih.annotator/99"}, "another version: format"),
        ({"severities": ["critical", "neutral", "non_critical"]}, "not the three"),
        ({"severities": ["mild"]}, "severities"),
        ({"settings": {"kind": "linear", "shortest_ngram": 0}}, "shortest_ngram"),
        ({"files": {}}, "does not list tensors"),
        ({"signature": {}}, "another way to fold"),
        ({"sha256": "0" * 64}, "not the one that was written"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    folder: Path, changes: dict[str, object], what: str
) -> None:
    change_manifest(folder, **changes)
    with pytest.raises(ModelError, match=what):
        load_annotator(folder)


def test_settings_changed_by_hand_are_noticed(folder: Path) -> None:
    file = folder / "annotator.json"
    text = file.read_text(encoding="utf-8")
    assert text.count('"longest_ngram": 5') == 2  # in the settings and in the signature
    file.write_text(text.replace('"longest_ngram": 5', '"longest_ngram": 4'), encoding="utf-8")
    with pytest.raises(ModelError, match="not the one that was written"):
        load_annotator(folder)


def test_another_kind_is_not_loaded_as_linear(folder: Path) -> None:
    change_manifest(folder, kind="lexicon")
    with pytest.raises(ModelError, match="of kind 'lexicon', not 'linear'"):
        LinearAnnotator.load(folder)


def test_a_manifest_cannot_point_outside_its_folder(folder: Path) -> None:
    (folder.parent / "secret").write_text("x")
    change_manifest(folder, files={"../secret": "0" * 64})
    with pytest.raises(ModelError, match="the file is missing") as caught:
        read_manifest(folder)
    assert str(folder / "secret") in str(caught.value)


def test_tensors_that_do_not_match_the_vocabulary_are_refused(folder: Path) -> None:
    import hashlib

    (folder / "vocabulary.json").write_text('["ab"]')
    digests = read_digests(folder)
    digests["vocabulary.json"] = hashlib.sha256(b'["ab"]').hexdigest()
    change_manifest(folder, files=digests)
    with pytest.raises(ModelError, match="1 n-grams"):
        load_annotator(folder)


def read_digests(folder: Path) -> dict[str, str]:
    manifest = json.loads((folder / "annotator.json").read_text(encoding="utf-8"))
    digests: dict[str, str] = manifest["files"]
    return digests
