from __future__ import annotations

import csv
import re
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tarjih.data.write as write_module
from tarjih.arabic.normalise import clean_text
from tarjih.data.tables import as_text, open_sheet
from tarjih.data.write import as_cell, in_workbook, may_be_formula, write_table
from tarjih.errors import DataError

FORMULAS = ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", "-- a"]
HARMLESS = ["صداع", "a=1", "-5", "+3.5", "", "1-2", "\u200f=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_program_might_run_is_known(text: str) -> None:
    assert may_be_formula(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_and_numbers_are_left_alone(text: str) -> None:
    assert not may_be_formula(text)


def test_no_cell_of_a_workbook_is_a_formula(tmp_path: Path) -> None:
    texts = [*FORMULAS, *HARMLESS, "#N/A", "a\ufffeb"]
    write_table(tmp_path / "t.xlsx", ["id", "text"], [(n, one) for n, one in enumerate(texts)])
    with zipfile.ZipFile(tmp_path / "t.xlsx") as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert set(re.findall(r' t="(\w+)"', sheet)) == {"inlineStr", "n"}
    page = openpyxl.load_workbook(tmp_path / "t.xlsx").worksheets[0]
    cells = [page.cell(row, 2) for row in range(2, page.max_row + 1)]
    quoted = [one for one, cell in zip(texts, cells, strict=True) if cell.quotePrefix]
    assert quoted == [*FORMULAS, "#N/A"]
    expected = [one.replace("\ufffe", "\ufffd") or None for one in texts]
    assert [cell.value for cell in cells] == expected
    assert page.sheet_view.rightToLeft
    assert page.freeze_panes == "A2"


def test_no_field_of_a_csv_begins_like_a_formula(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["text"], [(one,) for one in [*FORMULAS, *HARMLESS]])
    raw = (tmp_path / "t.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    with (tmp_path / "t.csv").open(encoding="utf-8-sig", newline="") as file:
        found = [row[0] if row else "" for row in csv.reader(file)][1:]
    assert found[len(FORMULAS) :] == HARMLESS
    for one, written in zip(FORMULAS, found, strict=False):
        assert not may_be_formula(written)
        assert clean_text(written) == clean_text(one)


@given(text=st.text(max_size=8))
def test_guarded_text_is_never_a_formula_and_reads_the_same(text: str) -> None:
    guarded = write_module._guarded(text)
    assert isinstance(guarded, str)
    assert not may_be_formula(guarded)
    assert clean_text(guarded) == clean_text(text)


@given(text=st.from_regex(r"[-+]?[0-9]{0,18}\.?[0-9]{0,5}e?[0-9]?", fullmatch=True))
def test_a_number_is_one_only_where_it_reads_back_as_the_same_text(text: str) -> None:
    assert as_text(as_cell(text)) == text


def test_numbers_become_numbers_and_codes_stay_text() -> None:
    assert [as_cell(one) for one in ("12", "-3", "0.25", "012", "1.50", "1" * 16, None, "x")] == [
        *(12, -3, 0.25, "012", "1.50", "1" * 16, None, "x")
    ]


def test_what_xml_cannot_hold_is_replaced() -> None:
    assert in_workbook("a\x0b\ud800b\tc\nd") == "a\ufffd\ufffdb\tc\nd"


@pytest.mark.parametrize("text", ["_x000D_", "a_x005F_x000D_", "_x0041_ _x", "__x000a__x005f_"])
def test_a_text_like_an_escape_is_no_escape(tmp_path: Path, text: str) -> None:
    write_table(tmp_path / "t.xlsx", ["text"], [(text,)])
    (row,) = open_sheet(tmp_path / "t.xlsx", None, lambda _: True).rows
    assert row.cells["text"] == text


def test_what_a_workbook_cannot_hold_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("a",), ("b" * 32_768,)]
    with pytest.raises(DataError, match=r"t\.xlsx, row 2: a text of 32,768 characters"):
        write_table(tmp_path / "t.xlsx", ["x"], rows)
    write_table(tmp_path / "t.csv", ["x"], rows)
    monkeypatch.setattr(write_module, "MOST_ROWS", 3)
    with pytest.raises(DataError, match="a sheet holds 2 rows"):
        write_table(tmp_path / "t.xlsx", ["x"], [("a",)] * 3)
    with pytest.raises(DataError, match=r"not written as \.ods"):
        write_table(tmp_path / "t.ods", ["x"], [])
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_a_failure_leaves_the_earlier_file(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"t{suffix}"
    write_table(file, ["x"], [("a",)])
    before = file.read_bytes()

    def rows() -> object:
        yield ("b",)
        raise DataError("the data are damaged", remedy="mend them")

    with pytest.raises(DataError, match="damaged"):
        write_table(file, ["x"], rows())  # type: ignore[arg-type]
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
