from __future__ import annotations

import json
from pathlib import Path

import pytest

from tarjih.errors import DataError, FolderError, ModelError
from tarjih.files import sha256_of, sha256_of_file
from tarjih.severity.annotator import (
    ANNOTATOR_CLASSES,
    Annotator,
    annotator_class,
    load_annotator,
    read_manifest,
    work_beside,
    write_manifest,
)
from tarjih.severity.linear import LinearAnnotator, LinearSettings


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
        ({"files": {}}, "does not list calibration"),
        ({"signature": {}}, "another way to know complaints again"),
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


@pytest.mark.parametrize(
    "name", ["../secret", "sub/../../secret", "{root}/secret", "..\\secret", "", "link/secret"]
)
def test_a_manifest_cannot_point_outside_its_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"x")
    (folder / "link").symlink_to(folder.parent)
    named = name.replace("{root}", str(folder.parent))
    change_manifest(folder, files={named: sha256_of_file(folder.parent / "secret")})
    with pytest.raises(ModelError, match="which is not in its folder") as caught:
        read_manifest(folder)
    assert "annotator.json" in str(caught.value)


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_files_of_sub_folders_are_watched(folder: Path, damage: str) -> None:
    inner = folder / "part" / "deeper"
    inner.mkdir(parents=True)
    (inner / "weights").write_bytes(b"12")
    manifest = read_manifest(folder)
    (folder / "annotator.json").unlink()
    write_manifest(folder, settings=LinearSettings(), signature=manifest.signature, measures=None)
    assert set(read_manifest(folder).files) == {*manifest.files, "part/deeper/weights"}
    if damage == "gone":
        (inner / "weights").unlink()
    else:
        (inner / "weights").write_bytes(b"21")
    with pytest.raises(ModelError, match="missing" if damage == "gone" else "not the one") as e:
        read_manifest(folder)
    assert str(inner / "weights") in str(e.value)


def test_work_is_kept_beside_the_annotator_until_it_succeeds(tmp_path: Path) -> None:
    place = tmp_path / "annotator.work"

    def interrupted() -> None:
        with work_beside(tmp_path / "annotator") as work:
            assert work.part("fold").folder == place / "fold"
            (place / "fold").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (place / "fold").is_dir()
    with work_beside(tmp_path / "annotator") as again:
        assert again.folder == place
        assert (place / "fold").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_work_that_comes_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError), work_beside(tmp_path / "annotator"):
        raise DataError("no rows", remedy="give some")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["a folder", "a file"])
def test_what_is_no_work_of_ours_is_left_alone(tmp_path: Path, what: str) -> None:
    place = tmp_path / "annotator.work"
    mine = place / "thesis.txt" if what == "a folder" else place
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("years of work")
    with (
        pytest.raises(FolderError, match="something else"),
        work_beside(tmp_path / "annotator"),
    ):
        raise AssertionError("never here")
    assert mine.read_text() == "years of work"


def test_a_kill_while_work_is_marked_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "annotator.work").mkdir()
    (tmp_path / "annotator.work" / ".work.json.x1.part").write_bytes(b"{")
    with work_beside(tmp_path / "annotator") as work:
        assert work.folder == tmp_path / "annotator.work"


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
