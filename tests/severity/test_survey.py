from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tarjih.severity.survey as survey_module
from tarjih.errors import DataError
from tarjih.severity.survey import DataFile, Repeats, Survey, digests_of, survey_file

ACHE = "\u0648\u062c\u0639"  # waja': ache
NEUTRAL = "\u0645\u062a\u0648\u0633\u0637"  # mutawassit: moderate


def survey(folder: Path, *lines: str, header: str = "complaint,severity") -> Survey:
    file = folder / "posts.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    read: list[int] = []
    found = survey_file(DataFile.find(file, columns=None, encoding=None), read.append)
    assert sum(read) == found.rows
    return found


@given(st.lists(st.sampled_from("abcdef")), st.integers(0, 12), st.integers(1, 5))
def test_repeats_are_found_among_the_rows_that_are_remembered(
    complaints: list[str], remembered: int, size: int
) -> None:
    repeats = Repeats(digests_of(complaints[:remembered]))
    found = [
        int(row)
        for start in range(0, len(complaints), size)
        for row in repeats.first_rows(complaints[start : start + size], start)
    ]
    first: dict[str, int] = {}
    for row, complaint in enumerate(complaints[:remembered]):
        first.setdefault(complaint, row)
    assert found == [first.get(complaint, row) for row, complaint in enumerate(complaints)]


def test_texts_differ_although_a_digest_may_end_in_zeros() -> None:
    # numpy strips zero bytes at the end of a byte string when it shows it, not when it compares.
    texts = [str(number) for number in range(2000)]
    digests = digests_of(texts)
    assert any(len(bytes(digest)) < 16 for digest in digests)
    assert np.array_equal(Repeats(digests).first_rows(texts, 0), np.arange(2000))


def test_complaints_are_the_same_when_their_cleaned_texts_are(tmp_path: Path) -> None:
    found = survey(tmp_path, f"{ACHE}  1,", f"{ACHE} 2,", f" {ACHE}\u200f 1,", f"{ACHE} 2.,")
    cleaned = [f"{ACHE} 1", f"{ACHE} 2", f"{ACHE} 1", f"{ACHE} 2."]
    assert found.repeats.first_rows(cleaned, 0).tolist() == [0, 1, 0, 3]


def test_only_so_many_rows_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "_BATCH", 2)
    monkeypatch.setattr(survey_module, "REMEMBERED_ROWS", 3)
    texts = [f"{ACHE} {number}" for number in (1, 2, 3, 4, 1, 4)]
    found = survey(tmp_path, *[f"{text}," for text in texts])
    assert found.rows == 6
    assert found.repeats.first_rows(texts, 0).tolist() == [0, 1, 2, 3, 0, 5]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([f"{ACHE},critical", f"{ACHE},dire"], r"row 2, column 'severity', value 'dire'.*known"),
        ([f"{ACHE},", ","], None),
        ([f"{ACHE},", "  ,neutral"], r"row 2, column 'complaint': the row has no complaint"),
        ([f"{ACHE},", "\u200f,neutral"], r"row 2, column 'complaint': the row has no complaint"),
        ([f"{ACHE},", f"{ACHE},1,2"], r"row 2: the row has 3 fields"),
        ([], "has a header but no rows"),
    ],
)
def test_what_would_stop_the_work_later_is_found_first(
    lines: list[str], said: str | None, tmp_path: Path
) -> None:
    if said is None:  # a wholly blank row is none
        assert survey(tmp_path, *lines).rows == 1
        return
    with pytest.raises(DataError, match=said) as caught:
        survey(tmp_path, *lines)
    assert ACHE not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("label", ["", "nan", "critical", "Not Critical", NEUTRAL])
def test_labels_that_are_known_or_missing_pass(label: str, tmp_path: Path) -> None:
    assert survey(tmp_path, f"{ACHE},{label}").rows == 1


def test_a_severity_that_was_derived_from_probabilities_is_no_label(tmp_path: Path) -> None:
    header = "complaint,severity,p_non_critical,p_neutral,p_critical"
    assert survey(tmp_path, f"{ACHE},dire,1,0,0", header=header).rows == 1


def test_single_complaints_without_arabic_letters_are_counted(tmp_path: Path) -> None:
    lines = [ACHE, "waga3 fi batny", "!!!", f"ct {ACHE}", "123"]
    found = survey(tmp_path, *[f"{text}," for text in [*lines, ACHE]])
    assert (found.rows, found.without_arabic, found.first_without_arabic) == (6, 3, 2)


@pytest.mark.parametrize("arabic", [0, 1, 2])
def test_a_file_that_is_mostly_not_arabic_is_refused(arabic: int, tmp_path: Path) -> None:
    lines = [f"{ACHE},"] * arabic + ["a private matter,"] * (5 - arabic)
    with pytest.raises(DataError, match=f"row {arabic + 1}, column 'complaint'") as caught:
        survey(tmp_path, *lines)
    message = str(caught.value)
    assert f"{5 - arabic} of 5" in message
    assert "--column complaint=NAME" in message
    assert "--encoding cp1256" in message
    assert "private" not in message


@pytest.mark.parametrize(
    "text",
    [
        "\u0640\u0640\u061f\u0663",  # tatweel, question mark, digit three: Arabic, but no letter
        "\u064e\u0651",  # fatha, shadda
        "\u00d5\u00cf\u00c7\u00da",  # suda': headache, in cp1256 read as Latin-1
        "\u05db\u05d0\u05d1",  # Hebrew
    ],
)
def test_signs_are_no_letters(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Arabic letter"):
        survey(tmp_path, f"x{text},")


@pytest.mark.parametrize("letter", ["\u0627", "\u064a", "\u067e", "\u06af", "\ufe8d", "\ufef4"])
def test_letters_of_any_form_are_arabic(letter: str, tmp_path: Path) -> None:
    assert survey(tmp_path, f"x {letter},").without_arabic == 0


def test_a_copy_is_the_same_data_and_an_edited_file_is_not(tmp_path: Path) -> None:
    first, copy = tmp_path / "a.csv", tmp_path / "copies" / "b.csv"
    copy.parent.mkdir()
    first.write_text(f"complaint\n{ACHE}\n", encoding="utf-8")
    copy.write_bytes(first.read_bytes())
    identities = [
        DataFile.find(file, columns=None, encoding=None).identity() for file in (first, copy)
    ]
    assert identities[0] == identities[1]
    copy.write_text(f"complaint\n{ACHE} \n", encoding="utf-8")
    file = DataFile.find(copy, columns=None, encoding=None)
    assert file.identity() != identities[0]
    other = DataFile.find(first, columns=None, encoding="utf-8")
    assert other.identity() != identities[0]
