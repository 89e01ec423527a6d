from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarjih.records import Consultation
from tarjih.report.preview import (
    facts,
    place_sentence,
    sections,
    severity_sentence,
    stretches,
    visible,
    write_preview,
)
from tarjih.training.pieces import Part, Piece
from tarjih.training.preview import Preview
from tarjih.training.settings import TrainingSettings
from tarjih.weighting import Weighting

from .demo import make_spread
from .page import Page
from .previews import ACHE, EVIL, FACE, REST, SHADDA, TOKENS, make_example, make_preview


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("page"), make_preview())


def written(folder: Path, preview: Preview) -> str:
    write_preview(preview, folder / "deep" / "page.html")
    return (folder / "deep" / "page.html").read_text(encoding="utf-8")


def tokens_of(html: str) -> list[dict[str, str]]:
    return [a for tag, a in Page(html).tags if tag == "span" and a.get("title")]


def test_is_well_formed_and_asks_nothing_of_the_network(html: str) -> None:
    page = Page(html)
    assert page.mismatches == page.open_tags == []
    assert all(value.startswith("#") for value in page.loads())
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for name in page.attributes())
    assert not re.search(r"url\((?!#)|@import", html)
    policy = [attrs for tag, attrs in page.tags if attrs.get("http-equiv")]
    assert "default-src 'none'" in policy[0]["content"]


def test_what_patients_wrote_is_text(html: str) -> None:
    assert EVIL not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert {"b", "i"}.isdisjoint(tag for tag, _ in Page(html).tags)
    assert f"<b>7</b>{ACHE}" in Page(html).text
    assert "\u202e" not in html  # RIGHT-TO-LEFT OVERRIDE
    assert "[U+202E]&amp;" in html


def test_every_token_has_its_part_id_and_position(html: str) -> None:
    of_number: dict[str, str] = {}
    for attrs in tokens_of(html):
        of_number.setdefault(attrs["title"], attrs["class"].split()[1])
    expected = {}
    position = 0
    for _, ids, part in TOKENS:
        shown = ", ".join(map(str, ids))
        if part is Part.DROPPED:
            expected[f"dropped; id {shown}"] = "dropped"
            continue
        name = f"position {position}; id {shown}"
        if len(ids) > 1:
            name = f"positions {position} to {position + 2}; 3 tokens, ids {shown}"
        expected[name] = str(part)
        position += len(ids)
    assert of_number == expected
    several = [one["title"] for one in tokens_of(html) if "several" in one["class"]]
    assert several == ["positions 8 to 10; 3 tokens, ids 11, 12, 13"]


def test_the_list_of_tokens_has_them_all(html: str) -> None:
    table = re.search(r'<table class="token-table">.*?</table>', html, re.DOTALL)
    assert table is not None
    rows = [
        [Page(cell).text for cell in re.findall(r"<td\b.*?</td>", row)]
        for row in re.findall(r"<tr>.*?</tr>", table[0])
    ]
    rows = [row for row in rows if row]
    assert len(rows) == len(TOKENS)
    assert rows[0] == ["0", "2", "<bos>", "prompt"]
    assert rows[3] == ["3", "1003", f"\u25cc{SHADDA}", "prompt"]
    assert rows[8] == ["8", "11 + 12 + 13", FACE, "prompt, 3 tokens"]
    assert rows[9] == ["–", "1008", f"·{REST}", "dropped"]
    assert rows[12] == ["12", "1011", f"·{REST}", "response, supervised"]
    assert rows[14] == ["14", "1", "<eos>", "end, supervised"]


def test_arabic_joins_across_tokens_and_quantities_are_isolated(html: str) -> None:
    text = re.search(r'<p class="tokens" dir="rtl" lang="ar">(.*?)</p>', html, re.DOTALL)
    assert text is not None
    # Nothing but the borders of spans stands between the letters of a word.
    between = re.search(rf"{ACHE[:2]}</span><span [^>]*>{ACHE[2:]}", text[1])
    assert between is not None
    left_to_right = [
        Page(one).text.replace(" ", "") for one in re.findall(r"<bdi.*?</bdi>", text[1])
    ]
    assert "37.5mg" in left_to_right
    assert left_to_right[0] == "<bos>"
    assert left_to_right[-1] == "<eos>"


def test_bars_are_as_long_as_what_they_show(html: str) -> None:
    widths = dict(re.findall(r'<span class="(\w+)" style="(?:width|left): ([\d.]+)%"', html))
    # 1.25 and the mean of 1.0, of at most 1.5; probabilities of 1/8, 1/4 and 5/8.
    assert widths == {
        "weight": "83.3",
        "mean": "66.7",
        "non_critical": "12.5",
        "neutral": "25.0",
        "critical": "62.5",
    }


def test_a_long_cut_is_shown_in_part(tmp_path: Path) -> None:
    dropped = [Piece(" x", (7,), Part.DROPPED, None)] * 400
    first, *rest = make_example(pieces=()).pieces or make_preview().shown[0].pieces
    example = make_example(pieces=(first, *dropped, *rest))
    html = written(tmp_path, make_preview(shown=(example,)))
    shown = {one["title"] for one in tokens_of(html)}
    assert "position 1; id 1001" in shown
    assert html.count('title="dropped; id 7"') == 300
    assert "102 more dropped tokens are not shown" in Page(html).text


def test_an_example_without_probabilities_and_equal_weights(tmp_path: Path) -> None:
    bare = make_example(consultation=Consultation("a", "b", "c"), weight=1.0)
    preview = make_preview(shown=(bare,), spread=make_spread(0.0), flatness="nearly <flat>")
    page = Page(written(tmp_path, preview))
    assert "no probabilities" in page.text
    assert "all weights are equal" in page.text
    assert "Warning: nearly <flat>" in page.text
    assert page.mismatches == []


def test_the_training_set_in_numbers() -> None:
    found = {one.name: (one.value, one.meaning) for one in facts(make_preview())}
    assert found["Examples"][0] == "96"
    assert found["Supervised tokens"][0] == "12,345"
    assert found["Mean prompt"][0] == "41.2"
    assert found["Mean response"][0] == "50.5"
    assert found["Longest example"] == ("333", "tokens, of at most 384")
    assert found["Padding"] == ("3.4 %", "of all tokens, in batches of at most 8")
    assert found["Shortened complaints"][0] == "1"
    assert found["Left out"] == ("0", "no response is too long")
    assert found["Weights"][1] == "0.5 non-critical, 1 neutral, 1.5 critical"
    assert found["Lowest, highest"][0] == "0.500 – 1.500"
    assert found["90 % of them"] == ("0.650 – 1.350", "mean 1.000")
    assert found["Effective sample"][0] == "97.2 %"


def test_what_is_unusual_is_said() -> None:
    preview = make_preview(
        left_out=tuple(f"n{number}" for number in range(7)),
        weighting=Weighting(alpha=1, beta=1, gamma=2, shuffled=True, normalise="mean"),
        training=TrainingSettings(batch_size=32, batch_tokens=4096),
    )
    found = {one.name: one.meaning for one in facts(preview)}
    assert found["Left out"] == "responses too long: n0, n1, n2, n3, n4 and 2 more"
    assert found["Weights"].endswith("dealt to the wrong rows, divided by their mean")
    assert found["Padding"].endswith("at most 32, 4,096 tokens")
    assert "dealt from another row" in place_sentence(make_example(), preview)
    assert place_sentence(make_example(), make_preview()) == "place 95 of 96 from the lowest"
    said = "non-critical 0.125, neutral 0.250, critical 0.625; labelled critical"
    assert severity_sentence(make_example()) == said


def test_sections_change_where_the_part_changes() -> None:
    found = [(one.part, one.title, one.tokens) for one in sections(make_example())]
    assert found == [
        (Part.PROMPT, "Prompt", 11),
        (Part.DROPPED, "Dropped: the model never sees this", 2),
        (Part.PROMPT, "Prompt, continued", 1),
        (Part.RESPONSE, "Response", 2),
        (Part.END, "End of sequence", 1),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f" {ACHE}", f"·{ACHE}"),
        ("\n\t", "↵⇥"),
        (SHADDA, f"\u25cc{SHADDA}"),
        (f"{ACHE}{SHADDA}", f"{ACHE}{SHADDA}"),
        ("\u200f", "[U+200F]"),
        ("a\u00a0b\x00", "a[U+00A0]b[U+0000]"),
        ("", ""),
    ],
)
def test_what_nobody_could_see_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(
    st.lists(
        st.sampled_from(["", " ", "a", "5", ".5 mg", ACHE, "\n", "<eos>", "\u202e", "(", REST])
    )
)
def test_no_text_is_lost_or_moved_by_cutting(texts: list[str]) -> None:
    pieces = [Piece(text, (n,), Part.PROMPT, n) for n, text in enumerate(texts)]
    found = [one for stretch in stretches(pieces) for one in stretch.texts]
    of_piece = ["".join(text for text, at in found if at == n) for n in range(len(texts))]
    assert of_piece == [text.replace("\n", "↵\n").replace("\u202e", "[U+202E]") for text in texts]
    assert [at for _, at in found] == sorted(at for _, at in found)
    assert all(text for text, _ in found)
