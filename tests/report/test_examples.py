from __future__ import annotations

from pathlib import Path

import pytest

from tarjih.files import write_json_lines
from tarjih.records import SEVERITIES, Generation, Severity
from tarjih.report.examples import choose, examples_of, passage

from .demo import make_record, make_results


def generation(number: int, severity: Severity | None, answer: str = "answer") -> Generation:
    return Generation(f"n{number}", "c", "r", answer, severity, True, None, 1, True)


def write(folder: Path, name: str, generations: list[Generation]) -> str:
    write_json_lines(folder / name, [one.to_json() for one in generations])
    return name


def test_choice_depends_on_ids_only() -> None:
    many = [generation(n, [*SEVERITIES, None][n % 4]) for n in range(40)]
    chosen = choose(many)
    assert [one.severity for one in chosen] == [
        severity for severity in (*reversed(SEVERITIES), None) for _ in range(3)
    ]
    other = [generation(n, one.severity, "other") for n, one in reversed(list(enumerate(many)))]
    assert [one.id for one in choose(other)] == [one.id for one in chosen]


def test_first_seed_of_each_condition_and_shared_complaints(tmp_path: Path) -> None:
    both = generation(1, Severity.CRITICAL, "base says")
    base = write(tmp_path, "base.jsonl", [generation(0, Severity.NEUTRAL), both])
    mild = write(tmp_path, "mild.jsonl", [generation(1, Severity.CRITICAL, "mild says")])
    later = write(tmp_path, "later.jsonl", [generation(1, Severity.CRITICAL, "later says")])
    results = make_results(
        make_record("m", "mild", 2, answers_file=later),
        make_record("m", "mild", 1, answers_file=mild),
        make_record("m", "base", 1, answers_file=base),
        make_record("other", "base", 1),
    )
    (found,) = examples_of(results, tmp_path)
    (example,) = found.examples
    assert [
        (one.condition, one.passage.text if one.passage else None) for one in example.answers
    ] == [("Base", "base says"), ("SA mild", "mild says")]


def test_complaints_that_no_two_conditions_share(tmp_path: Path) -> None:
    results = make_results(
        make_record("m", "base", 1, answers_file=write(tmp_path, "a", [generation(0, None)])),
        make_record("m", "mild", 1, answers_file=write(tmp_path, "b", [generation(1, None)])),
    )
    (found,) = examples_of(results, tmp_path)
    assert [one.passage is None for one in found.examples[0].answers] == [False, True]


@pytest.mark.parametrize("length", [2000, 2001])
def test_very_long_answers_are_cut(length: int) -> None:
    found = passage("x" * length)
    assert (len(found.text), found.shortened) == (2000, length > 2000)
