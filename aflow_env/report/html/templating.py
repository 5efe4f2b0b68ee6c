# SPDX-License-Identifier: Apache-2.0
"""The templates of this room's pages."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """Whatever is put into a page is escaped unless it is marked as markup; a missing name is an error."""
    loader = PackageLoader("aflow_env.report.html", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
