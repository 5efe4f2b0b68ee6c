# SPDX-License-Identifier: Apache-2.0
"""Every recipe still fits the package: its imports resolve."""

import ast
import importlib
from pathlib import Path

import pytest

RECIPES = sorted((Path(__file__).parents[2] / "recipe").rglob("*.py"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: "/".join(path.parts[-2:]))
def test_the_names_that_a_recipe_imports_exist(path: Path) -> None:
    """Each `from aflow_env... import name` of a recipe names something that is there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aflow_env"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
