# SPDX-License-Identifier: Apache-2.0
"""AFlow's folders, in and out."""

import errno
import os
from pathlib import Path

import pytest

from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.workflow.aflow.aflow_workspace import read_workflow, write_workflow
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import Step, to_workflow
from tests.workflow.examples import MATH_TASK, REALISTIC


@pytest.mark.parametrize("name", REALISTIC)
def test_a_folder_gives_back_what_was_written(name: str, tmp_path: Path) -> None:
    workflow, _ = REALISTIC[name]
    write_workflow(workflow, tmp_path / "best")
    assert read_workflow(tmp_path / "best") == workflow
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["__init__.py", "graph.py", "prompt.py"]


def test_a_round_s_folder_imports_its_own_prompts(tmp_path: Path) -> None:
    workflow = to_workflow((Step("Custom", 'A "quoted" äöü \\n prompt'),), MATH_TASK)
    write_workflow(workflow, tmp_path / "round_12")
    written = read_workflow(tmp_path / "round_12")
    assert "import workspace.MATH.workflows.round_12.prompt as prompt_custom" in written.graph
    assert "template.operator" in written.graph
    assert written.digest == workflow.digest


def test_writing_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_workflow(Workflow(f"class Workflow: {text}\r\n", ""), tmp_path)
    assert read_workflow(tmp_path).graph == "class Workflow: two\r\n"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room is the world's fault, is named, and costs no earlier file."""
    write_workflow(Workflow("old", ""), tmp_path)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InfrastructureError, match=r"__init__\.py cannot be written: No space left"):
        write_workflow(Workflow("new", ""), tmp_path)
    assert read_workflow(tmp_path).graph == "old"
    assert len(list(tmp_path.iterdir())) == 3


def test_bad_folders_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no graph\.py"):
        read_workflow(tmp_path)
    (tmp_path / "graph.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_workflow(tmp_path)


def test_prompt_py_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "graph.py").write_text("class Workflow: pass")
    assert read_workflow(tmp_path).prompts == ""
