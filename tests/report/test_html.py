from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarjih.files import write_json_lines
from tarjih.records import Generation, Severity
from tarjih.report.html import REPORT_FILE, write_report

from .demo import (
    CONDITIONS,
    MODELS,
    demo,
    make_record,
    make_results,
    make_scores,
    make_slice,
    make_spread,
)
from .page import Page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("experiment")
    path = write_report(demo(folder), folder)
    assert path == folder / REPORT_FILE
    return path.read_text(encoding="utf-8")


def rows_under(html: str, caption: str) -> list[list[str]]:
    """The cells of the table with this caption, header row first."""
    table = re.search(rf"<caption>{re.escape(caption)} <.*?</table>", html, re.DOTALL)
    assert table is not None
    return [
        [Page(cell).text for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr\b.*?</tr>", table[0], re.DOTALL)
    ]


def test_is_well_formed(report: str) -> None:
    page = Page(report)
    assert page.mismatches == []
    assert page.open_tags == []
    assert len(page.ids()) == len(set(page.ids()))
    anchors = {value[1:] for value in page.loads() if value.startswith("#")}
    assert anchors <= set(page.ids())


def test_asks_nothing_of_the_network_and_runs_nothing(report: str) -> None:
    page = Page(report)
    assert all(value.startswith(("#", "data:")) for value in page.loads())
    assert not re.search(r"url\((?!#)", report)
    assert "@import" not in report
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for name in page.attributes())
    policy = [attrs for tag, attrs in page.tags if attrs.get("http-equiv")]
    assert "default-src 'none'" in policy[0]["content"]


def test_has_every_part(report: str) -> None:
    page = Page(report)
    for section in (
        "summary",
        "scores",
        "severity",
        "weights",
        "training",
        "annotator",
        "answers",
        "details",
    ):
        assert section in page.ids()
    assert "Research, not medical advice." in page.text
    assert "Nearly flat: too little contrast to act." in page.text
    assert "loss became NaN at step 41" in page.text
    assert "encoder:tiny|layer:3|rescale:no" in page.text
    assert '"epochs": 3' in page.text
    # By severity and training: two plots for each model; a histogram for each trained condition.
    plots = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(plots) == (2 + 2 + 3) * len(MODELS) + len(CONDITIONS) - 1
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)


def test_tables_have_header_cells_and_the_layout_of_the_paper(report: str) -> None:
    header, *rows = rows_under(report, "BERTScore F1")
    assert header == [
        "Model",
        "Base",
        "CE",
        "SA mild",
        "SA strong",
        "SA balanced",
        "Shuffled control",
    ]
    assert [row[0] for row in rows] == ["aragpt2-base", "Qwen2.5-0.5B", "gemma3-270m"]
    assert rows[2][4] == "failed"
    assert rows[2][6] == "–"
    page = Page(report)
    assert all(attrs["scope"] in {"col", "row"} for tag, attrs in page.tags if tag == "th")


def test_table_shows_numbers_computed_by_hand(tmp_path: Path) -> None:
    results = make_results(
        *(
            make_record("m", "uniform", seed, scores=make_scores(make_slice(bertscore_f1=value)))
            for seed, value in enumerate([60.0, 62.0, 67.0])
        ),
        make_record("m", "base", 0, scores=make_scores(make_slice(bertscore_f1=54.044))),
    )
    html = write_report(results, tmp_path).read_text()
    # Mean 189 / 3 = 63; squares of 3, 1, 4 sum to 26; sqrt(26 / 2) = 3.6056.
    assert rows_under(html, "BERTScore F1")[1] == ["m", "54.04", "63.00 ± 3.61"]


def test_answers_are_right_to_left_and_side_by_side(report: str) -> None:
    page = Page(report)
    passages = [attrs for tag, attrs in page.tags if attrs.get("class") == "passage"]
    assert {(one["dir"], one.get("lang")) for one in passages} == {("rtl", "ar"), ("ltr", None)}
    assert '<bdi dir="ltr">37.5 °C</bdi>' in report
    assert '<span class="badge critical">' in report
    assert "(estimated)" in page.text
    assert "(empty)" in page.text
    examples = report.count('<article class="example">')
    assert examples == 9 * len(MODELS)  # three of each severity


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    results = demo(tmp_path, MODELS[:1])
    first = write_report(results, tmp_path).read_bytes()
    assert write_report(results, tmp_path).read_bytes() == first


def test_report_of_nothing(tmp_path: Path) -> None:
    page = Page(write_report(make_results(), tmp_path).read_text())
    assert "holds no runs yet" in page.text
    assert "scores" not in page.ids()


def test_report_of_failures_only(tmp_path: Path) -> None:
    results = make_results(make_record("m", "mild", 1, status="failed", error=None))
    page = Page(write_report(results, tmp_path).read_text())
    assert "0 runs finished, 1 run failed." in page.text
    assert "no reason given" in page.text
    assert page.mismatches == []


def test_damaged_and_absent_answers_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{")
    results = make_results(
        make_record("m", "base", 1, answers_file="bad.jsonl"),
        make_record("m", "mild", 1, answers_file="gone.jsonl"),
        make_record("m", "strong", 1, answers_file="../../etc/passwd"),
    )
    text = Page(write_report(results, tmp_path).read_text()).text
    assert "Base: the row is not JSON" in text
    assert "SA mild: the file is not there" in text
    assert "SA strong: the answers lie outside the results folder" in text


def test_different_signatures_are_warned_about(tmp_path: Path) -> None:
    def scores(signature: str) -> object:
        return make_scores(make_slice()).model_copy(
            update={"signatures": {"bertscore_f1": signature, "bertscore_counts": signature}}
        )

    def text(*signatures: str) -> str:
        records = [
            make_record("m", "base", n, scores=scores(one)) for n, one in enumerate(signatures)
        ]
        return Page(write_report(make_results(*records), tmp_path).read_text()).text

    assert text("a", "b").count("do not compare") == 1
    assert "do not compare" not in text("a", "a")


HOSTILE = st.one_of(
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</style><script>x</script>",
            '"><img src=x onerror=alert(1)>',
            "' onmouseover='x",
            "{{ 7 * 7 }}{% raw %}",
            "$\\frac{1}$ $x",
            "\u202e\u2066 reversed \x00\x1b[31m",
            "]]> --> &lt; &amp; &#0;",
            "[red]markup[/red]",
            "_hidden",
            "\u0639\u0631\u0628\u064a 5 mg",
            " ",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(HOSTILE, min_size=8, max_size=8))
def test_hostile_text_stays_text(tmp_path: Path, texts: list[str]) -> None:
    model, condition, name, error, answer, complaint, key, value = texts
    write_json_lines(
        tmp_path / "a.jsonl",
        [
            Generation(
                "1", complaint, value, answer, Severity.CRITICAL, True, None, 1, True
            ).to_json()
        ],
    )
    scores = make_scores(make_slice(), {"critical": make_slice()}).model_copy(
        update={"signatures": {key: value}}
    )
    results = make_results(
        make_record(
            model, condition, 1, scores=scores, weights=make_spread(0.2), answers_file="a.jsonl"
        ),
        make_record(model, "mild", 2, status="failed", error=error),
        name=name,
        settings={key: value},
        data={key: value},
        severity={key: {"labels": [name, error, key], "confusion_matrix": [[1, 0, 0]] * 3}},
        signature={key: [value]},
    )
    html = write_report(results, tmp_path).read_text(encoding="utf-8")
    page = Page(html)
    assert page.mismatches == []
    assert page.open_tags == []
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert all(found.startswith("#") for found in page.loads())
    assert not any(found.startswith("on") for found in page.attributes())
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e\u2066-\u2069]", html)


def test_formula_in_a_name_is_no_formula(tmp_path: Path) -> None:
    scores = make_scores(make_slice(), {"critical": make_slice()})
    results = make_results(make_record("a $_{$ b", "_mild$x$", 1, scores=scores))
    html = write_report(results, tmp_path).read_text()
    assert "BERTScore F1 by severity: a $_{$ b" in Page(html).texts
    assert "mild$x$" in Page(html).texts  # in the legend, though it starts with an underscore


def test_script_in_an_answer_is_shown_as_it_is(tmp_path: Path) -> None:
    answer = "<script>alert('x')</script>"
    write_json_lines(
        tmp_path / "a.jsonl",
        [Generation("1", "c", "r", answer, None, False, None, 1, True).to_json()],
    )
    results = make_results(make_record("m", "base", 1, answers_file="a.jsonl"))
    html = write_report(results, tmp_path).read_text()
    assert "<script>" not in html
    assert answer in Page(html).text
