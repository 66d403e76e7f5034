"""Fills the templates of HTML pages, which need no network: the style sheet stands in the page."""

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def filled_page(template: str, style_sheet: str, **values: Any) -> str:
    """Return a whole HTML document.

    Args:
        template: The file's name in `report/templates`. The template gets the style sheet as `style`.
        style_sheet: The name of the style sheet there.
        **values: What the template shows. Texts are escaped; a value that the template lacks is an error.
    """
    style = resources.files("diagchd_batch.report").joinpath("templates", style_sheet).read_text(encoding="utf-8")
    return _environment().get_template(template).render(style=Markup(style), **values)


@cache
def _environment() -> Environment:
    """Return the environment of all pages. It keeps the compiled templates, and compiling takes as long as filling."""
    return Environment(
        loader=PackageLoader("diagchd_batch.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
