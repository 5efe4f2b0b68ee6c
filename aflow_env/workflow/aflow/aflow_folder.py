# SPDX-License-Identifier: Apache-2.0
"""A workflow as AFlow's folder: round_N/ with graph.py, prompt.py and an empty __init__.py."""

import re
from pathlib import Path

from aflow_env.errors import ConfigError
from aflow_env.files import write_text
from aflow_env.workflow.program import Workflow

_ROUND_IMPORT = re.compile(r"^([ \t]*(?:import|from)[ \t]+workspace\.[\w.]*\.round_)\w+(?=\.prompt\b)", re.MULTILINE)


def read_workflow(folder: Path) -> Workflow:
    """Read the unchanged texts of a workflow. Without prompt.py there are no prompts. Raises ConfigError."""
    graph, prompts = folder / "graph.py", folder / "prompt.py"
    if not graph.is_file():
        raise ConfigError(f"{folder} holds no graph.py: name a folder such as workspace/GSM8K/workflows/round_3")
    return Workflow(_read(graph), _read(prompts) if prompts.is_file() else "")


def write_workflow(workflow: Workflow, folder: Path) -> None:
    """Write or replace the three files, each atomically.

    In a folder round_N the graph imports that round's prompts, as AFlow needs it. The digest does not change.
    """
    graph = workflow.graph
    if number := re.fullmatch(r"round_(\w+)", folder.name):
        graph = _ROUND_IMPORT.sub(rf"\g<1>{number[1]}", graph)
    for name, text in (("__init__.py", ""), ("prompt.py", workflow.prompts), ("graph.py", graph)):
        write_text(folder / name, text)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # line ends as they are
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
