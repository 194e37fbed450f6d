"""HTML pages made from the templates beside the code; the templates escape every text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capreward._version import __version__
from capreward.atomic_files import write_beside
from capreward.reports.gallery_choice import percent
from capreward.reports.results import format_value, label

SHARED = "capreward.reports"  # the package whose templates every page may extend


def render(template: str, values: Mapping[str, Any], *, package: str = SHARED) -> str:
    """Fill a template; texts among the values are escaped and never read as a template.

    Args:
        template: The name of the template in the folder ``templates`` of the package or of ``capreward.reports``.
        values: The values by the names that the template uses; a missing name raises an error.
        package: The package that is searched first for templates and styles.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(name) for name in dict.fromkeys([package, SHARED])])
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    def style(name: str) -> str:
        # A style sheet is no template: "{#" in a rule on one line would begin a comment.
        return loader.get_source(environment, name)[0]

    environment.globals.update(
        style=style, label=label, format_value=format_value, percent=percent, version=__version__
    )
    return environment.get_template(template).render(values)


def write_page(path: str | Path, template: str, values: Mapping[str, Any], *, package: str = SHARED) -> None:
    """Write a filled template beside its place, then rename it; see ``render``.

    Raises:
        InputError: The file cannot be written.
    """
    # A lone surrogate, which JSON can contain, has no UTF-8 form; the page is written all the same.
    data = render(template, values, package=package).encode("utf-8", "replace")
    write_beside(Path(path), lambda beside: _write(beside, data))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
