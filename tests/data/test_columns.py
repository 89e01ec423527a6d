from __future__ import annotations

import pytest

from tarjih.data.columns import ALIASES, find_columns, fold_name
from tarjih.errors import DataError

NOT_CRITICAL = "\u063a\u064a\u0631 \u062d\u0631\u062c"
NEUTRAL = "\u0645\u062a\u0648\u0633\u0637"
CRITICAL = "\u062d\u0631\u062c"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            ["q_body", "a_body", "category"],
            {"complaint": "q_body", "response": "a_body", "specialty": "category"},
        ),
        (
            ["Question", "Answer", "Severity", NOT_CRITICAL, NEUTRAL, CRITICAL],
            {
                "complaint": "Question",
                "response": "Answer",
                "severity": "Severity",
                "p_non_critical": NOT_CRITICAL,
                "p_neutral": NEUTRAL,
                "p_critical": CRITICAL,
            },
        ),
        (
            ["ID", "Post", "Type", "Severity", "Diagnosis", "Plan"],
            {
                "id": "ID",
                "complaint": "Post",
                "response": "Plan",
                "specialty": "Type",
                "severity": "Severity",
            },
        ),
        (list(ALIASES), {ours: ours for ours in ALIASES}),
    ],
)
def test_known_files_are_recognised(columns: list[str], expected: dict[str, str]) -> None:
    assert find_columns(columns).names == expected


@pytest.mark.parametrize(
    "name",
    [
        "QUESTION",
        " question ",
        "Question:",
        "Q-Body",
        "q body",
        "\u0627\u0644\u0633\u0651\u0624\u0627\u0644",
    ],
)
def test_case_blanks_and_diacritics_make_no_difference(name: str) -> None:
    assert find_columns([name, "Answer"]).names["complaint"] == name


def test_a_surer_name_wins() -> None:
    assert find_columns(["input", "complaint", "output", "plan"]).names == {
        "complaint": "complaint",
        "response": "plan",
    }


def test_a_severity_beside_probabilities_is_nobodys_label() -> None:
    probabilities = ["p_non_critical", "p_neutral", "p_critical"]
    base = ["complaint", "response", "severity"]

    assert find_columns(base).label_column == "severity"
    assert find_columns(base + probabilities).label_column is None
    told = find_columns([*base, *probabilities, "labelled_severity"])
    assert told.label_column == "labelled_severity"


def test_missing_columns_are_named_with_what_is_there_and_the_remedy() -> None:
    with pytest.raises(DataError) as caught:
        find_columns(["foo", "bar"], file="x.csv")

    message = str(caught.value)
    assert "x.csv" in message
    assert "'foo', 'bar'" in message
    assert "--column complaint=NAME --column response=NAME" in message


def test_a_response_is_needed_only_where_it_is_required() -> None:
    assert "response" not in find_columns(["complaint"], require_response=False).names
    with pytest.raises(DataError, match="no column for the response"):
        find_columns(["complaint"])


def test_told_names_win_and_the_rest_is_found() -> None:
    found = find_columns(["question", "text", "answer"], told={"complaint": "text"})

    assert found.names == {"complaint": "text", "response": "answer"}
    assert found.told == {"complaint"}


def test_a_told_column_is_not_used_twice() -> None:
    with pytest.raises(DataError, match="no column for the response"):
        find_columns(["question", "answer"], told={"complaint": "answer"})


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"complaint": "absent"}, "no such column; the file has 'question', 'answer', 'answer'"),
        ({"complaints": "question"}, "did you mean 'complaint'"),
        ({"response": "answer"}, "more than once"),
    ],
)
def test_told_names_that_do_not_fit_are_errors(told: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_columns(["question", "answer", "answer"], told=told)


def test_told_names_for_several_files_may_be_absent_from_one() -> None:
    told = {"complaint": "text", "response": "answer"}

    found = find_columns(["question", "answer"], told=told, told_for_several=True)

    assert found.names == {"complaint": "question", "response": "answer"}
    assert found.told == {"response"}


def test_two_columns_of_one_name_are_ambiguous() -> None:
    with pytest.raises(
        DataError, match=r"(?s)two columns may be the complaint.*--column complaint"
    ):
        find_columns(["Question", "question ", "answer"])


def test_part_of_the_probabilities_is_an_error() -> None:
    with pytest.raises(DataError, match="nothing for p_neutral, p_critical"):
        find_columns(["complaint", "response", "p_non_critical"])


def test_no_two_names_share_an_alias() -> None:
    folded = [fold_name(alias) for aliases in ALIASES.values() for alias in dict.fromkeys(aliases)]
    owners = {
        name: {ours for ours, aliases in ALIASES.items() if name in map(fold_name, aliases)}
        for name in folded
    }

    assert {name: found for name, found in owners.items() if len(found) > 1} == {}
