from __future__ import annotations

import json
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tarjih.data.encodings import open_text
from tarjih.data.tables import as_text, open_delimited, open_json_lines, open_parquet, open_sheet
from tarjih.errors import DataError

HEADACHE = "\u0635\u062f\u0627\u0639"  # suda': headache


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def saved_sheets(path: Path, **sheets: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        page = book.create_sheet(name)
        for row in rows:
            page.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    text = delimiter.join(["a", '"b, or; b"', "c"]) + "\n" + delimiter.join(["1", "2", "3"])
    table = open_delimited(written(tmp_path, "x.csv", text), None)

    assert table.columns == ("a", "b, or; b", "c")
    assert [row.cells for row in table.rows] == [{"a": "1", "b, or; b": "2", "c": "3"}]


def test_quoted_line_breaks_and_blank_lines_keep_the_count(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", 'a,b\r\n"one\r\ntwo",x\r\n\r\n , \r\n"say ""yes""",y\r\n')

    rows = list(open_delimited(path, None).rows)

    assert [(row.number, row.cells["a"]) for row in rows] == [(1, "one\r\ntwo"), (4, 'say "yes"')]


def test_ragged_rows_are_damaged_but_blank_fields_at_the_end_are_not(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "a,b\n1,2,,\n1,2,3\n1\n4,5\n")

    rows = list(open_delimited(path, None).rows)

    assert [row.damage is not None for row in rows] == [False, True, True, False]
    assert rows[1].damage == "the row has 3 fields, but the header has 2"
    assert [row.number for row in rows] == [1, 2, 3, 4]


def test_a_quotation_mark_that_is_never_closed_swallows_nothing_silently(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", 'a,b\n1,2\n1,"open\n3,4\n5,6\n')

    with pytest.raises(DataError, match=r"(?s)row 2.*close every quotation mark"):
        list(open_delimited(path, None).rows)


def test_fields_beyond_pythons_limit_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "a,b\n" + "x" * 200_000 + ",y\n")

    assert [len(row.cells["a"] or "") for row in open_delimited(path, None).rows] == [200_000]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "x.csv", f"a,b\n{HEADACHE},2\n".encode(encoding))

    table = open_delimited(path, None)

    assert table.columns == ("a", "b")
    assert [row.cells["a"] for row in table.rows] == [HEADACHE]


def test_a_named_encoding_is_used(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", f"a,b\n{HEADACHE},2\n".encode("cp1256"))

    assert [row.cells["a"] for row in open_delimited(path, "cp1256").rows] == [HEADACHE]


@pytest.mark.parametrize("word", ["a", HEADACHE, "\U0001f600"])
@pytest.mark.parametrize("before", [0, 1, 16_383, 16_384, 65_536, 70_001])
def test_the_byte_that_is_not_utf8_is_named(tmp_path: Path, before: int, word: str) -> None:
    good = (word * before).encode()
    path = written(tmp_path, "x.txt", good + b"\xff and more")

    with pytest.raises(DataError, match=rf"(?s)byte {len(good)} is not utf-8.*--encoding cp1256"):
        list(open_text(path, None))


def test_a_character_cut_off_at_the_end_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "x.txt", HEADACHE.encode()[:-1])

    with pytest.raises(DataError, match="byte 6 is not utf-8"):
        list(open_text(path, None))


def test_an_encoding_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no encoding 'arabic-ish'"):
        open_text(written(tmp_path, "x.csv", "a"), "arabic-ish")


@pytest.mark.parametrize("content", ["", "\n \n", b"\xef\xbb\xbf"])
def test_empty_text_files_are_errors(tmp_path: Path, content: str | bytes) -> None:
    path = written(tmp_path, "x.csv", content)

    with pytest.raises(DataError, match="the file is empty"):
        open_delimited(path, None)
    with pytest.raises(DataError, match="the file is empty"):
        open_json_lines(path, None)


def test_json_lines_have_all_keys_as_columns(tmp_path: Path) -> None:
    lines = [{"a": 1}, {}, {"a": None, "b": HEADACHE}]
    path = written(tmp_path, "x.jsonl", "\n\n".join(json.dumps(line) for line in lines))

    table = open_json_lines(path, None)

    assert table.columns == ("a", "b")
    assert [(row.number, row.cells) for row in table.rows] == [
        (1, {"a": "1", "b": None}),
        (5, {"a": None, "b": HEADACHE}),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [("[1]", "holds a JSON list"), ('"x"', "holds a JSON str"), ("{1}", "is not JSON")],
)
def test_json_lines_that_are_no_objects_are_errors(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, "x.jsonl", '{"a": 1}\n' + line)

    with pytest.raises(DataError, match=rf"(?s)row 2.*{message}"):
        open_json_lines(path, None)


def test_cells_that_are_no_text_damage_their_row(tmp_path: Path) -> None:
    path = written(tmp_path, "x.jsonl", '{"a": ["x"]}\n{"a": "x"}')

    rows = list(open_json_lines(path, None).rows)

    assert [row.damage for row in rows] == ["a cell holds a list where text belongs", None]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, None), ("x", "x"), (1.0, "1"), (0.25, "0.25"), (7, "7"), (float("nan"), "nan")],
)
def test_cells_become_text(value: object, text: str | None) -> None:
    assert as_text(value) == text


def test_sheets_are_read_and_the_one_that_fits_is_chosen(tmp_path: Path) -> None:
    path = saved_sheets(
        tmp_path / "x.xlsx",
        notes=[["read me"]],
        data=[[], ["a", "b", None], [1, "x_x000D_y"], [], [2.5, None]],
    )

    table = open_sheet(path, None, lambda header: "b" in header)

    assert table.columns == ("a", "b")
    assert [(row.number, row.cells) for row in table.rows] == [
        (1, {"a": "1", "b": "x\ry"}),
        (3, {"a": "2.5", "b": None}),
    ]
    assert open_sheet(path, "notes", lambda _: True).columns == ("read me",)
    with pytest.raises(DataError, match="no sheet 'absent'; the workbook has notes, data"):
        open_sheet(path, "absent", lambda _: True)


def test_workbooks_without_cells_and_damaged_ones_are_errors(tmp_path: Path) -> None:
    whole = saved_sheets(tmp_path / "x.xlsx", data=[["a"], ["b"]]).read_bytes()

    with pytest.raises(DataError, match="the file is empty"):
        open_sheet(saved_sheets(tmp_path / "y.xlsx", data=[]), None, lambda _: True)
    for content in (b"", b"not a workbook", whole[: len(whole) // 2]):
        with pytest.raises(DataError, match="not a readable Excel workbook"):
            open_sheet(written(tmp_path, "z.xlsx", content), None, lambda _: True)


def test_parquet_is_read_and_damage_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1.0, None, 0.5], "b": ["x", None, HEADACHE]}), path)

    table = open_parquet(path)

    assert table.columns == ("a", "b")
    assert [(row.number, row.cells) for row in table.rows] == [
        (1, {"a": "1", "b": "x"}),
        (3, {"a": "0.5", "b": HEADACHE}),
    ]
    for content in (b"", b"PAR1 no", path.read_bytes()[:-20]):
        with pytest.raises(DataError, match="not a readable Parquet file"):
            open_parquet(written(tmp_path, "z.parquet", content))
