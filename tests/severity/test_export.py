from __future__ import annotations

import json
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.data.labels import parse_severity
from tarjih.data.read import read_consultations
from tarjih.errors import DataError
from tarjih.records import PROBABILITY_COLUMNS, Severity
from tarjih.severity.export import PAPER_COLUMNS, export_file

# Written out here once more, so that a slip in the table of names is noticed.
NAMES = ["\u063a\u064a\u0631 \u062d\u0631\u062c", "\u0645\u062a\u0648\u0633\u0637"]
NAMES.append("\u062d\u0631\u062c")
ROWS = [
    ("صداع منذ يومين", "راجع الطبيب", (0.5, 0.25, 0.25)),
    ("=HYPERLINK(1)", "+1 راجع", (1 / 3, 1 / 3, 1 / 3)),
    ("- عندي سعال\n- وحرارة", "@طبيب", (1e-5, 0.1, 0.89999)),
    ('ألم، "شديد"; في الصدر', "-5", (0.0, 0.0, 1.0)),
    ("#N/A ألم", "_x000D_ نعم", (0.12345678901234567, 0.3, 0.57654321098765433)),
]


def scored(folder: Path, rows: list[tuple[str, str, tuple[float, float, float]]]) -> Path:
    columns = {
        "complaint": [row[0] for row in rows],
        "response": [row[1] for row in rows],
        **{name: [row[2][place] for row in rows] for place, name in enumerate(PROBABILITY_COLUMNS)},
    }
    pq.write_table(pa.table(columns), folder / "scored.parquet")
    return folder / "scored.parquet"


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_what_was_written_is_read_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    data = scored(tmp_path, ROWS)
    out = tmp_path / f"paper{suffix}"
    done = export_file(data, out)
    assert (done.file, done.rows, done.other_labels) == (out, len(ROWS), 0)
    before = read_consultations(data)
    after = read_consultations(out, require_response=True, require_probabilities=True)
    for one, other in zip(before, after, strict=True):
        assert (one.complaint, one.response) == (other.complaint, other.response)
        assert one.severity is other.severity
        assert other.labelled_severity is None
        assert one.probabilities is not None
        assert other.probabilities is not None
        expected = one.probabilities.as_tuple()
        if suffix == ".xlsx":  # a workbook holds 16 digits
            assert other.probabilities.as_tuple() == pytest.approx(expected, rel=1e-15)
        else:
            assert other.probabilities.as_tuple() == expected


def test_the_layout_is_the_papers(tmp_path: Path) -> None:
    export_file(scored(tmp_path, ROWS), tmp_path / "paper.xlsx")
    page = openpyxl.load_workbook(tmp_path / "paper.xlsx").worksheets[0]
    header, *rows = page.iter_rows(values_only=True)
    assert list(header) == ["Question", "Answer", "Severity", *NAMES] == list(PAPER_COLUMNS)
    # Of equal probabilities the more severe.
    assert [row[2] for row in rows] == [NAMES[0], NAMES[2], NAMES[2], NAMES[2], NAMES[2]]
    assert [parse_severity(name) for name in NAMES] == list(Severity)
    assert rows[3][3:] == (0, 0, 1)
    assert all(cell.data_type == "s" for line in page["A2:B6"] for cell in line)


def test_a_label_of_a_person_is_counted_where_it_differs(tmp_path: Path) -> None:
    line = {"complaint": "صداع", "response": "راجع", "p_non_critical": 0.8, "p_neutral": 0.1}
    lines = [
        json.dumps({**line, "p_critical": 0.1, "labelled_severity": label})
        for label in ("critical", "mild", "")
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = export_file(tmp_path / "data.jsonl", tmp_path / "out.csv")
    assert (done.rows, done.other_labels) == (3, 1)
    read = read_consultations(tmp_path / "out.csv")
    assert {one.severity for one in read} == {Severity.NON_CRITICAL}


def write_lines(folder: Path, *lines: dict[str, object]) -> Path:
    file = folder / "data.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return file


GOOD: dict[str, object] = {
    "complaint": "صداع",
    "response": "راجع",
    **dict(zip(PROBABILITY_COLUMNS, (0.2, 0.3, 0.5), strict=True)),
}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"complaint": "صداع", "response": "راجع"}], "has no severity probabilities"),
        ([{k: v for k, v in GOOD.items() if k != "response"}], "no column for the response"),
        ([GOOD, {**GOOD, "response": " "}], "row 2, column 'response': the value is missing"),
        ([GOOD, {**GOOD, "complaint": "\u200f"}], "row 2, column 'complaint'"),
        (
            [GOOD, {**GOOD, **dict.fromkeys(PROBABILITY_COLUMNS)}],
            "row 2, column 'probabilities': the value is missing",
        ),
        ([GOOD, {**GOOD, "p_critical": 7}], "row 2, column 'p_non_critical'"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, lines: list[dict[str, object]], said: str
) -> None:
    data = write_lines(tmp_path, *lines)
    with pytest.raises(DataError, match=said):
        export_file(data, tmp_path / "out.xlsx")
    assert list(tmp_path.iterdir()) == [data]


def test_progress_and_columns_are_passed_on(tmp_path: Path) -> None:
    rows = [(f"صداع {n}", "راجع", (0.2, 0.3, 0.5)) for n in range(2050)]
    table = pq.read_table(scored(tmp_path, rows))
    pq.write_table(table.rename_columns(["x", "y", *PROBABILITY_COLUMNS]), tmp_path / "d.parquet")
    told: list[int] = []
    done = export_file(
        tmp_path / "d.parquet",
        tmp_path / "o.csv",
        columns={"complaint": "x", "response": "y"},
        progress=told.append,
    )
    assert (done.rows, told) == (2050, [1024, 1024])


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).map(
        lambda text: f"{text}ص"
    )
)
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    data = scored(folder, [(text, text, (0.2, 0.3, 0.5))])
    (before,) = read_consultations(data)
    export_file(data, folder / "out.csv")
    (after,) = read_consultations(folder / "out.csv")
    assert (after.complaint, after.response) == (before.complaint, before.response)
