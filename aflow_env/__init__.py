# SPDX-License-Identifier: Apache-2.0
"""aflow_env: a verl plugin that searches for better agentic workflows with a policy that learns by GiGPO.

Python code uses `search`, `asearch` and `load` (aflow_env/api.py, docs/use.md).
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["asearch", "load", "search"]

TYPE_CHECKING = False  # true for type checkers; to import it from `typing` would take most of this import's time
if TYPE_CHECKING:
    from aflow_env.api import asearch, load, search


def __getattr__(name: str) -> object:
    """Import a function at its first use, because verl loads this package in every process."""
    if name == "search":
        return import_module("aflow_env.search")  # a callable module
    if name in __all__:
        return getattr(import_module("aflow_env.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
