"""`tarjih severity lexicon`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Finished, run_here
from tarjih.severity.lexicon import entries, reading

ISOLATED = re.compile("[\u2066-\u2068][^\u2066-\u2069]*\u2069")
ARABIC = re.compile("[\u0600-\u06ff]")
CHEST = "ألم شديد في الصدر"
COMPLAINT = f"عندي صداع خفيف و {CHEST} وما عندي ضيق في التنفس"


def explained(*arguments: object) -> list[Any]:
    done = run_here("severity", "lexicon", "explain", *arguments, "--json")
    assert done.code == 0, done.shown
    assert done.out.isascii()
    found: list[Any] = json.loads(done.out)
    return found


def refused(done: Finished, *said: object) -> None:
    assert done.code == 2, done.shown
    assert "\nWhat to do: " in done.err
    for text in said:
        assert str(text) in done.err
    assert not ARABIC.search(done.shown)


def test_a_complaint_is_explained() -> None:
    done = run_here("severity", "lexicon", "explain", COMPLAINT)
    assert done.code == 0, done.shown
    assert "The lexicon calls this critical\n" in done.out
    assert "critical: chest pain or pressure  [chest-pain] decides\n" in done.out
    assert f"    \u2067{CHEST}\u2069\n" in done.out
    assert "  NHS: Chest pain, https://www.nhs.uk/conditions/chest-pain/\n" in done.out
    assert re.search(r"critical: .*\[breathlessness-plain\] is denied\n", done.out)
    assert "  because of\n    \u2067ما عندي\u2069\n" in done.out.replace("وما", "ما")
    assert re.search(r"non-critical \(else neutral\): .*counts, too\n", done.out)
    assert done.out.index("decides") < done.out.index("counts, too")
    assert not ARABIC.search(ISOLATED.sub("", done.out))


def test_words_without_quotation_marks_are_one_complaint() -> None:
    assert explained(*COMPLAINT.split()) == explained(COMPLAINT)


def test_the_json_says_which_words_and_why() -> None:
    (one,) = explained(COMPLAINT)
    assert (one["complaint"], one["severity"]) == (COMPLAINT, "critical")
    for found in one["evidence"]:
        words = found["words"]
        assert COMPLAINT[words["start"] : words["end"]] == words["text"]
        assert (found["because"] is None) == (found["standing"] == "counts")
        assert found["source"]["url"].startswith("https://")
    standing = {found["sign"]: (found["standing"], found["decides"]) for found in one["evidence"]}
    assert standing["chest-pain"] == ("counts", True)
    assert standing["breathlessness-plain"] == ("denied", False)


def test_nothing_found_is_said() -> None:
    done = run_here("severity", "lexicon", "explain", "السلام عليكم")
    assert done.code == 0
    assert "No sign counts" in done.out
    assert explained("السلام عليكم")[0] == {
        "complaint": "السلام عليكم",
        "severity": None,
        "evidence": [],
    }


def test_lines_of_a_file_are_complaints(tmp_path: Path) -> None:
    file = tmp_path / "complaints.txt"
    file.write_text(f"\ufeff{COMPLAINT}\n\n  سعال\r\n", encoding="utf-8")
    assert [one["complaint"] for one in explained("--file", file)] == [COMPLAINT, "سعال"]
    done = run_here("severity", "lexicon", "explain", "--file", file)
    assert re.findall(r"Complaint (\d) of (\d)", done.out) == [("1", "2"), ("2", "2")]
    file.write_bytes(COMPLAINT.encode("windows-1256"))
    refused(run_here("severity", "lexicon", "explain", "--file", file), file, "read as utf-8")
    (one,) = explained("--file", file, "--encoding", "windows-1256")
    assert one["complaint"] == COMPLAINT


def test_complaints_come_through_stdin() -> None:
    from typer.testing import CliRunner

    from tarjih.cli.app import app

    arguments = ["severity", "lexicon", "explain", "--file", "-", "--json"]
    done = CliRunner().invoke(app, arguments, input=f"{COMPLAINT}\n".encode())
    assert done.exit_code == 0
    assert json.loads(done.stdout) == explained(COMPLAINT)


def test_controls_of_the_terminal_are_not_passed_on() -> None:
    done = run_here("severity", "lexicon", "explain", f"{CHEST}\x1b[31m \u202e[red]x[/nothing]")
    assert done.code == 0, done.shown
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert "[red]x[/nothing]" in done.out


def test_what_is_no_complaint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.txt"
    file.write_text(" \n\n", encoding="utf-8")
    explain = ("severity", "lexicon", "explain")
    refused(run_here(*explain, "--file", file), file, "no complaint")
    refused(run_here(*explain), "either a text or --file")
    refused(run_here(*explain, COMPLAINT, "--file", file), "either a text or --file")
    refused(run_here(*explain, " "), "no complaint")
    refused(run_here(*explain, "--file", tmp_path / "none.txt"), "none.txt")
    refused(run_here(*explain, "--file", file, "--encoding", "x"), "cannot be read as x")


def test_signs_are_listed_with_words_and_source() -> None:
    done = run_here("severity", "lexicon", "list", "--severity", "critical", "--category", "eye")
    assert done.code == 0, done.shown
    assert "critical: chemical in the eye  [eye-chemical] eye\n" in done.out
    assert "neutral" not in done.out
    assert "chest-pain" not in done.out
    assert not ARABIC.search(ISOLATED.sub("", done.out))
    listed = [one for one in entries.read_entries().signs if one.category == "eye"]
    chosen = [one for one in listed if one.severity == "critical"]
    assert 0 < len(chosen) < len(listed)
    forms = sum(len(forms) for one in chosen for forms in one.forms.values())
    assert done.out.endswith(f"{len(chosen)} signs, {forms} forms\n")
    for one in chosen:
        assert f"  {one.source[0]}, {one.source[1]}\n" in done.out


def test_the_list_as_json_is_the_data() -> None:
    done = run_here("severity", "lexicon", "list", "--json")
    listed = {one["id"]: one for one in json.loads(done.out)}
    assert len(listed) == len(entries.read_entries().signs)
    for name in entries.SIGN_FILES:
        data = json.loads((entries.BUNDLED / name).read_text(encoding="utf-8"))
        for sign in data["signs"]:
            expected = {**sign, "source": data["sources"][sign["source"]]}
            assert listed[sign["id"]] == {"together": [], **expected}


def test_the_words_of_one_dialect() -> None:
    done = run_here("severity", "lexicon", "list", "--dialect", "gulf", "--json")
    assert {dialect for one in json.loads(done.out) for dialect in one["forms"]} == {"gulf"}
    assert run_here("severity", "lexicon", "list", "--category", "none").code == 2


def test_damaged_data_are_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for file in entries.BUNDLED.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "neutral.json").write_text('{"signs": [{"id": "cough"}], "sources": {}}')
    monkeypatch.setattr(reading, "bundled_lexicon", lambda: reading.read_lexicon(tmp_path))
    refused(run_here("severity", "lexicon", "list"), "neutral.json", "the entry 'cough'")
    refused(run_here("severity", "lexicon", "explain", "x"), "neutral.json", "the entry 'cough'")
