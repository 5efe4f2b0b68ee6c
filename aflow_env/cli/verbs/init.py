# SPDX-License-Identifier: Apache-2.0
"""`aflow-env init NAME`: a task of your own in a folder, small and whole, to change into yours."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from aflow_env.errors import ConfigError
from aflow_env.tasks.benchmarks.arithmetic import generate
from aflow_env.workflow.aflow.aflow_folder import write_text

PROBLEMS = 10
"""In each of the two files."""

YAML = """\
# A task of your own: `aflow-env search task=own task.name=THIS_FILE` (docs/tasks.md explains each key).
name: {name}
path: data                      # beside this file: validate.jsonl steers the search, test.jsonl ends it
prompt: "{{question}}"            # all that a workflow sees; names in braces are fields of your records
answer: "{{answer}}"              # only the scorer sees it
scorer: {name}_scorer:score
operators: [Custom, AnswerGenerate, ScEnsemble, Programmer, Review, Revise]
"""

SCORER = '''\
"""Scores an output of the task {name}."""

import re


def score(answer: str, output: str) -> float:
    """Return how much the output is worth, from 0 to 1: here 1 where its last number is the answer."""
    numbers = re.findall(r"-?\\d+(?:\\.\\d+)?", output.replace(",", ""))
    if not numbers:
        return 0.0
    return float(float(numbers[-1]) == float(answer))
'''

README = """\
# {name}

A task for [aflow-env](https://arxiv.org/abs/2410.10762): problems, a scorer, and a YAML that says which field is which.

| file | holds |
|---|---|
| `{name}.yaml` | the prompt, the answer, the scorer, the operators that a workflow may use |
| `data/validate.jsonl` | ten problems by which the search chooses |
| `data/test.jsonl` | ten others, which are touched once at the end |
| `{name}_scorer.py` | `score(answer, output)`: a number from 0 to 1 |

The problems are arithmetic stories, so that the **SIMULATED** executor can answer them: no key, no server, and no claim
about a language model. In this folder's parent:

    aflow-env search task=own task.name={name}/{name}.yaml run_dir={name}/runs/first rounds=8
    aflow-env show {name}/runs/first

With a server of yours, and then with problems of yours:

    aflow-env search task=own task.name={name}/{name}.yaml run_dir={name}/runs/real rounds=8 \\
        executor=openai executor.base_url=http://localhost:8000/v1 executor.model=MODEL executor.prices=free

Use what was found:

    aflow-env run {name}/runs/first --input {name}/data/test.jsonl --output {name}/answers.jsonl
    aflow-env serve {name}/runs/first --port 8000
"""


def init(folder: Annotated[Path, typer.Argument(help="Folder to make; its name is the task's.")]) -> None:
    """Write a task of your own that can be searched at once. Nothing is overwritten."""
    name = folder.name
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ConfigError(f"{name}: a task's name has letters, digits and _ alone, and begins with no digit")
    if folder.exists():
        raise ConfigError(f"{folder} is there already, and nothing is overwritten: name another folder")
    files = {
        f"{name}.yaml": YAML.format(name=name),
        f"{name}_scorer.py": SCORER.format(name=name),
        "README.md": README.format(name=name),
        "data/validate.jsonl": _problems("validate"),
        "data/test.jsonl": _problems("test"),
    }
    for path, text in files.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_text(folder / path, text)
        except OSError as error:
            raise ConfigError(f"{folder / path} cannot be written ({error.strerror}); name another folder") from error
    print(f"{folder}: {', '.join(files)}")
    print("Search it, with the SIMULATED executor:")
    print(f"  aflow-env search task=own task.name={folder / name}.yaml run_dir={folder / 'runs/first'} rounds=8")


def _problems(split: str) -> str:
    """Arithmetic stories of one to five operations as JSON lines."""
    found = (generate(f"init/{split}/{number}", number % 5 + 1) for number in range(PROBLEMS))
    return "".join(json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in found)
