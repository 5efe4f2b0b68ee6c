# SPDX-License-Identifier: Apache-2.0
"""`aflow-env init FOLDER`: copy conf/init, a small and whole task, to change into your own."""

import re
from pathlib import Path
from typing import Annotated

import typer

from aflow_env.config import config_directory
from aflow_env.errors import ConfigError
from aflow_env.files import whole_folder, write_text, writing
from aflow_env.screen import say


def init(folder: Annotated[Path, typer.Argument(help="Folder to make; its name is the task's.")]) -> None:
    """Write a task of your own that can be searched at once. Nothing is overwritten."""
    name, template = folder.name, config_directory() / "init"
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ConfigError(f"{folder}: a task's name has letters, digits and _ alone, and begins with no digit")
    if folder.exists():
        raise ConfigError(f"{folder} is there already, and nothing is overwritten: name another folder")
    with writing(folder), whole_folder(folder) as half:
        for source in sorted(path for path in template.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            path = str(source.relative_to(template)).replace("NAME", name)
            write_text(half / path, source.read_text(encoding="utf-8").replace("NAME", name))
            say(str(folder / path))
    say("Search it, with the SIMULATED executor:")
    say(f"  aflow-env search task=own task.name={folder / name}.yaml run_dir={folder / 'runs/first'} rounds=8")
