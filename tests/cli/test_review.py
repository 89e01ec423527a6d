"""`tarjih severity review`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import openpyxl
import pytest

from cli.commands import run_here
from small_world import few_consultations
from tarjih.data.read import read_consultations
from tarjih.records import SEVERITIES

ARABIC = re.compile("[\u0600-\u06ff]")


@pytest.fixture
def sheet(annotator: Path, labelled_file: Path, tmp_path: Path) -> Path:
    file = tmp_path / "huda.xlsx"
    done = run_here("severity", "review", "write", labelled_file, annotator, "--out", file)
    assert done.code == 0, done.shown
    assert re.search(r"^\d+ complaints to review: \d+ ", done.out)
    assert str(file) in done.out
    assert not ARABIC.search(done.shown)
    return file


def label(sheet: Path, out: Path, *labels: str) -> Path:
    """A copy of a sheet in which a reviewer has labelled the first complaints."""
    book = openpyxl.load_workbook(sheet)
    page = book["review"]
    (place,) = [cell.column for cell in page[1] if str(cell.value).endswith("\nnew label")]
    for row, one in enumerate(labels, start=2):
        page.cell(row, place, one)
    book.save(out)
    return out


def ids(sheet: Path) -> list[str]:
    return [str(line[0].value) for line in openpyxl.load_workbook(sheet)["review"]["A2:A99"]]


def test_a_review_from_sheet_to_data(labelled_file: Path, sheet: Path, tmp_path: Path) -> None:
    first, second, third = ids(sheet)[:3]
    before = {one.id: one.labelled_severity for one in few_consultations()}
    other = next(one for one in SEVERITIES if one is not before[first])
    huda = label(sheet, tmp_path / "Huda.xlsx", other, str(before[second]), "critical")
    omar = label(sheet, tmp_path / "Omar.xlsx", other, str(before[second]), "mild")
    out = tmp_path / "reviewed.xlsx"
    done = run_here("severity", "review", "apply", labelled_file, huda, omar, "--out", out)
    assert done.code == 0, done.shown
    assert "3 complaints reviewed: 1 confirmed, 1 undecided; 1 rows have another label" in done.out
    assert f"undecided: {third}\n" in done.out
    assert not ARABIC.search(done.shown)
    after = {one.id: one.labelled_severity for one in read_consultations(out)}
    assert after == {**before, first: other}
    record = (tmp_path / "reviewed.review.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["reviewer"] for line in record] == ["Huda", "Omar"] * 3

    agreed = run_here("severity", "review", "agreement", huda, omar)
    assert agreed.code == 0, agreed.shown
    assert re.search(r"^reviewers +Huda, Omar\n", agreed.out)
    assert re.search(r"^complaints labelled by several +3\n", agreed.out, re.MULTILINE)
    assert re.search(r"^same label +0\.667  \(0\.\d+ to 1\.000\)\n", agreed.out, re.MULTILINE)
    assert re.search(r"alpha, ordinal +-?\d\.\d{3}  \(", agreed.out)
    assert re.search(r"kappa, quadratic +-?\d\.\d{3}  \(", agreed.out)


def test_scored_data_need_no_annotator(
    sheet: Path, scored_file: Path, labelled_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "from-scores.xlsx"
    done = run_here("severity", "review", "write", scored_file, "--out", out)
    assert done.code == 0, done.shown
    assert ids(out) == ids(sheet)
    few = run_here("severity", "review", "write", scored_file, "--out", out, "--rows", 2, "--blind")
    assert few.code == 0, few.shown
    assert [one for one in ids(out) if one != "None"] == ids(sheet)[:2]
    wrong = run_here("severity", "review", "write", labelled_file, "--out", tmp_path / "a.csv")
    assert (wrong.code, "end the name in .xlsx" in wrong.err) == (2, True)
    unscored = run_here("severity", "review", "write", labelled_file, "--out", out)
    assert unscored.code == 2
    assert "has no severity probabilities" in unscored.err


def test_nothing_that_is_read_is_overwritten(
    labelled_file: Path, sheet: Path, tmp_path: Path
) -> None:
    huda = label(sheet, tmp_path / "a.xlsx", "critical")
    before = (labelled_file.read_bytes(), huda.read_bytes())
    for out in (labelled_file, huda):
        done = run_here("severity", "review", "apply", labelled_file, huda, "--out", out)
        assert (done.code, "is not overwritten" in done.err) == (2, True)
    done = run_here(
        *("severity", "review", "apply", labelled_file, huda),
        *("--out", tmp_path / "o.csv", "--record", huda),
    )
    assert (done.code, "is not overwritten" in done.err) == (2, True)
    same = run_here(
        *("severity", "review", "apply", labelled_file, huda),
        *("--out", tmp_path / "o.csv", "--record", tmp_path / "o.csv"),
    )
    assert (same.code, "are the same file" in same.err) == (2, True)
    assert (labelled_file.read_bytes(), huda.read_bytes()) == before
    alone = run_here("severity", "review", "agreement", huda)
    assert (alone.code, f"{huda}: there are no two labels" in alone.err) == (2, True)
