# SPDX-License-Identifier: Apache-2.0
"""Select, propose, predict, evaluate, record. Calling this module calls `aflow_env.api.search`.

Python sets `aflow_env.search` to this module when a module in it is imported, so `aflow_env/__init__.py` cannot have a
function of that name.
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
