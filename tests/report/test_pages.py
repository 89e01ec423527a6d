from __future__ import annotations

import pytest
from jinja2 import DictLoader, UndefinedError
from markupsafe import Markup

from tarjih.report import pages
from tarjih.report.pages import render_page


@pytest.fixture(autouse=True)
def _template(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = DictLoader({"page": "{{ text }}{% for one in many %}{{ one }}{% endfor %}"})
    monkeypatch.setattr(pages, "PackageLoader", lambda package: loader)


def test_text_is_escaped_and_turns_nothing_round() -> None:
    found = render_page("page", {"text": "<b>\u202e&\x00", "many": [1, Markup("<i>")]})
    assert found == "&lt;b&gt;&amp;\ufffd1<i>"


@pytest.mark.parametrize("context", [{"text": ""}, {"many": []}])
def test_a_name_that_the_context_lacks_is_an_error(context: dict[str, object]) -> None:
    with pytest.raises(UndefinedError):
        render_page("page", context)
