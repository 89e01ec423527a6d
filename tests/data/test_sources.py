from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from tarjih.data.read import open_rows
from tarjih.data.sources import find_source, open_table, source_digest
from tarjih.errors import DataError
from tarjih.files import sha256_of_file


def small_dataset(*complaints: str) -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        {"question": list(complaints), "answer": ["rest"] * len(complaints)}
    )


def test_a_file_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "x.CSV"
    path.write_text("a\n1\n")

    source = find_source(path)

    assert (source.name, source.stem, source.path) == ("x.CSV", "x", path)
    assert source_digest(source) == sha256_of_file(path)


def test_an_absent_file_suggests_names_that_are_near(tmp_path: Path) -> None:
    (tmp_path / "posts.xlsx").touch()

    with pytest.raises(DataError, match=r"(?s)no such file.*did you mean posts\.xlsx"):
        find_source(tmp_path / "post.xlsx")
    with pytest.raises(DataError, match="check the path"):
        find_source(tmp_path / "absent" / "folder.csv")


@pytest.mark.parametrize(
    ("name", "remedy"), [("x.xls", "save it as .xlsx"), ("x.pdf", "convert"), ("x", "convert")]
)
def test_unknown_kinds_of_files_are_errors(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).touch()

    with pytest.raises(DataError, match=rf"(?s)cannot be read, only \.xlsx, \.csv.*{remedy}"):
        find_source(tmp_path / name)


def test_a_folder_that_is_no_dataset_lists_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").touch()

    with pytest.raises(DataError, match=r"it holds train\.parquet"):
        find_source(tmp_path)


def test_only_what_ships_can_be_bundled() -> None:
    with pytest.raises(DataError, match="use bundled:consultations"):
        find_source("bundled:nothing")
    assert find_source("bundled:consultations").name == "bundled:consultations"


def test_saved_datasets_are_read_with_all_or_one_of_their_splits(tmp_path: Path) -> None:
    splits = {"train": small_dataset("one", "two"), "test": small_dataset("three")}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "many"))
    splits["train"].save_to_disk(str(tmp_path / "single"))

    def complaints(name: str, split: str | None) -> list[tuple[int, str]]:
        opened = open_rows(tmp_path / name, sheet=split)
        return [(row.number, row.complaint) for row in opened.rows]

    assert complaints("many", None) == [(1, "one"), (2, "two"), (3, "three")]
    assert complaints("many", "test") == [(1, "three")]
    assert complaints("single", None) == [(1, "one"), (2, "two")]
    with pytest.raises(DataError, match="no split 'dev'; it has train, test"):
        complaints("many", "dev")
    assert source_digest(find_source(tmp_path / "many")) != source_digest(
        find_source(tmp_path / "single")
    )


def test_a_damaged_dataset_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")

    with pytest.raises(DataError, match="cannot be loaded"):
        open_table(find_source(tmp_path))


def test_hub_ids_are_loaded_by_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str) -> Any:
        asked.append(name)
        return datasets.DatasetDict({"train": small_dataset("one")})

    monkeypatch.setattr(datasets, "load_dataset", load)

    rows = list(open_rows("someone/consultations").rows)

    assert asked == ["someone/consultations"]
    assert (rows[0].id, rows[0].complaint) == ("someone-consultations-1", "one")
    assert len(source_digest(find_source("someone/consultations"))) == 64


def test_no_network_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: str) -> Any:
        raise ConnectionError("the hub cannot be reached\nand a long story")

    monkeypatch.setattr(datasets, "load_dataset", load)

    with pytest.raises(DataError, match=r"(?s)the hub cannot be reached\).*the network") as caught:
        open_rows("someone/consultations")
    assert "long story" not in str(caught.value)


def test_a_sheet_of_a_text_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")

    with pytest.raises(DataError, match="has no sheets"):
        open_table(find_source(tmp_path / "x.csv"), sheet="one")
