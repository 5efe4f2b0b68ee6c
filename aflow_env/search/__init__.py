# SPDX-License-Identifier: Apache-2.0
"""Select, propose, predict, expand, tell. Called, this room is the function `aflow_env.api.search`.

Python sets `aflow_env.search` to this module as soon as a module of it is imported, so a function of that name in
`aflow_env/__init__.py` would be lost.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallableRoom(ModuleType):
    def __call__(self, **keys: Any) -> Any:
        """Search for a better workflow: see `aflow_env.api.search`."""
        return import_module("aflow_env.api").search(**keys)


sys.modules[__name__].__class__ = _CallableRoom
