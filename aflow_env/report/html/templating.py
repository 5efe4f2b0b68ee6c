# SPDX-License-Identifier: Apache-2.0
"""The templates of this room's pages."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aflow_env.screen import visible


def environment() -> Environment:
    """Return the environment of the pages: every value is escaped visible text unless it is marked as markup."""
    loader = PackageLoader("aflow_env.report.html", "templates")
    return Environment(
        loader=loader,
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
