# SPDX-License-Identifier: Apache-2.0
"""One name for one thing: no two classes share a name, nor do two files outside `cli/verbs/`; no folder is wide."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "aflow_env"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))
WIDEST = 12
LONGEST = 350


def shared(names: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    """Name -> the files that have it, for every name that several files have."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, path in names:
        places[name].append(str(path.relative_to(PACKAGE)))
    return {name: files for name, files in places.items() if len(files) > 1}


def test_no_two_classes_share_a_name() -> None:
    """A reader who meets a class name in an import knows which class it is."""
    trees = ((path, ast.parse(path.read_text(encoding="utf-8"))) for path in MODULES)
    classes = ((node.name, path) for path, tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert shared(classes) == {}


def test_no_two_files_share_a_name() -> None:
    """A file name alone says which file it is; a verb of the command line may be called as the thing that it shows."""
    assert shared((path.name, path) for path in MODULES if path.parent.name != "verbs") == {}


def test_no_folder_is_wide_and_no_module_long() -> None:
    """A folder has at most 12 modules, a module at most 350 lines."""
    folders = {folder: len(list(folder.glob("*.py"))) - 1 for folder in PACKAGE.rglob("*") if folder.is_dir()}
    assert {str(folder): size for folder, size in folders.items() if size > WIDEST and folder.name != "verbs"} == {}
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}
