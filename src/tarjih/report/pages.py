"""From a template to a self-contained page in which everything is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tarjih.report.names import showable


def render_page(template: str, context: Mapping[str, Any]) -> str:
    """Render a template of this package; a name that the context lacks is an error."""
    environment = Environment(
        loader=PackageLoader("tarjih.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalise,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(context)


def _finalise(value: Any) -> Any:
    # Jinja calls this for every expression of the template, so that no text can be forgotten.
    return showable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
