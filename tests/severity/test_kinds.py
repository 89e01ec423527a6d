from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tarjih.errors import ModelError, SettingsError
from tarjih.settings import Settings, make_settings
from tarjih.severity.annotator import ANNOTATOR_CLASSES, AnnotatorSettings, annotator_class
from tarjih.severity.ensemble import EnsembleSettings
from tarjih.severity.kinds import AnyAnnotatorSettings, annotator_name, annotator_settings
from tarjih.severity.linear import LinearSettings


class Holder(Settings):
    annotator: AnyAnnotatorSettings


def held(annotator: object) -> AnnotatorSettings:
    return make_settings(Holder, {"annotator": annotator}).annotator


@pytest.mark.parametrize("kind", ANNOTATOR_CLASSES)
def test_the_key_kind_decides_whose_settings_they_are(kind: str) -> None:
    found = held({"kind": kind, "folds": 7})
    assert type(found) is annotator_class(kind).settings_class
    assert found.model_dump()["folds"] == 7
    assert held(found) is found
    assert held(found.model_dump(mode="json")) == found


def test_without_a_kind_it_is_linear() -> None:
    assert held({"longest_ngram": 4}) == LinearSettings(longest_ngram=4)


def test_what_is_dumped_holds_the_settings_of_that_kind() -> None:
    chosen = held({"kind": "ensemble", "members": [{"kind": "linear"}, {"kind": "encoder"}]})
    assert isinstance(chosen, EnsembleSettings)
    dumped = Holder(annotator=chosen).model_dump(mode="json")
    assert dumped["annotator"]["members"][1]["model"] == "packaged:e5-small"
    assert make_settings(Holder, dumped).annotator == chosen


@pytest.mark.parametrize(
    ("annotator", "expected"),
    [
        ({"kind": "oracle"}, "annotator: there is no annotator of kind 'oracle'; choose one of: "),
        ({"kind": "encoder", "folds": 1}, "annotator.folds: input should be greater than or"),
        ({"kind": "encoder", "epoch": 2}, "annotator.epoch: there is no such key; did you mean 'e"),
        ({"kind": "linear", "folds": 1, "zzzz": 2}, "annotator.zzzz: there is no such key; known"),
    ],
)
def test_faults_are_named_with_their_key(annotator: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        held(annotator)
    assert expected in str(caught.value)


def test_a_file_of_settings_names_its_kind_and_overrides_win(tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text("kind: linear\nlongest_ngram: 3\nfolds: 4\n", encoding="utf-8")
    assert annotator_settings(str(file), ["folds=6"]) == LinearSettings(longest_ngram=3, folds=6)
    assert annotator_name(str(file)) == "short"
    assert annotator_settings("lexicon", ["folds=6"]).folds == 6
    assert annotator_name("lexicon") == "lexicon"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "kind: this key is required"), ("kind: linear\nfold: 3\n", "did you mean 'folds'?")],
)
def test_faults_of_such_a_file_are_named(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "short.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"short\.yaml") as caught:
        annotator_settings(str(file))
    assert expected in str(caught.value)


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(ModelError, match="no annotator of kind 'oracle'"):
        annotator_settings("oracle")
