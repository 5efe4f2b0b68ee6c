# SPDX-License-Identifier: Apache-2.0
"""Pages and figures. The templates are filled here: every value is escaped, visible text unless it is markup."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aflow_env.screen import visible


def render(template: str, **values: Any) -> str:
    """Return the page of a template."""
    environment = Environment(
        loader=PackageLoader("aflow_env.report.html", "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
