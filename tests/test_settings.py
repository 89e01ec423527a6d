from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field

from tarjih.config import ExperimentConfig, RunConfig
from tarjih.errors import SettingsError
from tarjih.settings import (
    Settings,
    describe_settings,
    load_settings,
    make_settings,
    settings_from_overrides,
)
from tarjih.severity.annotator import AnnotatorSettings


class Oven(Settings):
    """What the dough goes into."""

    degrees: float = Field(default=230.0, gt=0, description="Celsius")
    minutes: int = Field(default=40, ge=1, description="in the oven")


class Bread(Settings):
    """Settings of the size that a test can be read with."""

    name: str = Field(description="what it is called")
    flour: list[str] = Field(default=["wheat"], description="kinds")
    hydration: float = Field(default=0.7, ge=0, le=1, description="share of water")
    turns: tuple[tuple[int, int], ...] = Field(default=((1, 2), (3, 4)), description="of the loaf")
    oven: Oven = Field(default_factory=Oven, description="the oven")


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "bread.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(raw: dict[str, Any], kind: type[Settings] = Bread) -> str:
    with pytest.raises(SettingsError) as caught:
        make_settings(kind, raw)
    return str(caught.value)


def test_a_file_and_overrides_make_settings(tmp_path: Path) -> None:
    file = written(tmp_path, "name: rye\noven:\n  degrees: 250\n")
    bread = load_settings(
        Bread, file, ["oven.minutes=55", "flour=[rye, spelt]", "hydration=1e-4", "name=a=b"]
    )
    assert bread == Bread(
        name="a=b",
        flour=["rye", "spelt"],
        hydration=0.0001,
        oven=Oven(degrees=250.0, minutes=55),
    )


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "0.0001", '"1e-4"'])
def test_small_numbers_are_numbers_in_files_and_overrides(tmp_path: Path, text: str) -> None:
    # YAML 1.1 reads 1e-4, without a point, as text.
    assert load_settings(Bread, written(tmp_path, f"name: a\nhydration: {text}")).hydration == 1e-4
    assert settings_from_overrides(Bread, ["name=a", f"hydration={text}"]).hydration == 1e-4


def test_overrides_alone_make_nested_settings() -> None:
    bread = settings_from_overrides(Bread, ["name=rye", "oven.degrees=200"])
    assert bread.oven == Oven(degrees=200, minutes=40)


def test_all_faults_are_told_at_once() -> None:
    message = refused(
        {"hydration": 3, "oven": {"minutes": "long", "degres": 1}, "flour": [1], "sugar": 1}
    )
    assert message.startswith("6 faults in the settings\n")
    assert "- name: this key is required" in message
    assert "- hydration: input should be less than or equal to 1 (given: 3)" in message
    assert "- oven.minutes: input should be a valid integer" in message
    assert "(given: 'long')" in message
    assert "- oven.degres: there is no such key; did you mean 'degrees'?" in message
    assert "- flour.0: input should be a valid string (given: 1)" in message
    assert "- sugar: there is no such key" in message
    assert "What to do: correct the lines above; `tarjih settings` lists" in message


def test_one_fault_is_told_in_the_singular() -> None:
    assert refused({}).startswith("one fault in the settings\n")


def test_a_key_near_to_none_gets_the_list_of_those_there_are() -> None:
    message = refused({"name": "a", "oven": {"xyzzy": 1}})
    assert "known here: degrees, minutes" in message


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_numbers_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"oven\.degrees: input should be"):
        settings_from_overrides(Bread, ["name=a", f"oven.degrees={value}"])


@pytest.mark.parametrize("field", ["name", "oven"])
def test_settings_cannot_change(field: str) -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(Bread(name="a"), field, "b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [rye", "not valid YAML"),
        ("name: rye\n\tflour: x", "not valid YAML"),
        ("name: rye\nname: wheat", "the key 'name' is there twice"),
        ("name: rye\noven: {minutes: 1, minutes: 2}", "the key 'minutes' is there twice"),
        ("- rye", "holds a list"),
        ("rye", "holds a str"),
        ("", "name: this key is required"),
        ("1: 2\nname: a", "keys should be strings"),
        ("name: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("name: a\noven:", "oven: input should be a valid dictionary"),
    ],
)
def test_faults_of_the_file_are_settings_errors(tmp_path: Path, text: str, expected: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(Bread, file)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_merged_yaml_mappings_are_no_doubles(tmp_path: Path) -> None:
    text = "name: a\noven:\n  <<: {minutes: 5, degrees: 100}\n  degrees: 200\n"
    assert load_settings(Bread, written(tmp_path, text)).oven == Oven(degrees=200, minutes=5)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bread.yaml"
    file.write_bytes("name: \u062e\u0628\u0632".encode("cp1256"))  # khubz: bread
    with pytest.raises(SettingsError, match="not valid YAML"):
        load_settings(Bread, file)


def test_an_absent_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml: there is no such settings file"):
        load_settings(Bread, tmp_path / "absent.yaml")
    with pytest.raises(SettingsError, match="this is a folder"):
        load_settings(Bread, tmp_path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("minutes", "not of the form key=value"),
        ("=5", "not of the form key=value"),
        ("oven.=5", "not of the form key=value"),
        ("name.first=5", "looks for keys below 'name'"),
        ("flour=[rye", "cannot be read"),
    ],
)
def test_faults_of_an_override_are_settings_errors(
    tmp_path: Path, override: str, expected: str
) -> None:
    with pytest.raises(SettingsError, match="What to do") as caught:
        load_settings(Bread, written(tmp_path, "name: a"), [override])
    assert expected in str(caught.value)
    assert repr(override) in str(caught.value)


def test_settings_are_described_with_defaults_and_meanings() -> None:
    assert list(describe_settings(Bread)) == [
        ("name", "required", "what it is called"),
        ("flour", "['wheat']", "kinds"),
        ("hydration", "0.7", "share of water"),
        ("turns", "[[1, 2], [3, 4]]", "of the loaf"),
        ("oven", "", "the oven"),
        ("oven.degrees", "230.0", "Celsius"),
        ("oven.minutes", "40", "in the oven"),
    ]


def settings_within(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every Settings class that an annotation reaches, by a walk of its own."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from settings_within(field.annotation)
    for inner in get_args(annotation):
        yield from settings_within(inner)


@pytest.mark.parametrize("kind", [ExperimentConfig, RunConfig])
def test_every_field_of_every_reachable_class_is_described(kind: type[Settings]) -> None:
    reached = set(settings_within(kind))
    assert len(reached) >= 6
    nameless = [
        f"{one.__name__}.{name}"
        for one in reached
        for name, field in one.model_fields.items()
        if len(field.description or "") < 8
    ]
    assert not nameless
    assert all(issubclass(one, Settings) for one in reached)
    listed = list(describe_settings(kind))
    # Of a choice between classes the first is listed, the others by themselves.
    others = [one for one in reached if issubclass(one, AnnotatorSettings)]
    all_listed = [*listed, *(line for other in others for line in describe_settings(other))]
    keys = {key.rpartition(".")[2] for key, _, _ in all_listed}
    assert keys == {name for one in reached for name in one.model_fields}
    assert len({key for key, _, _ in listed}) == len(listed)
    assert all(meaning for _, _, meaning in listed)
