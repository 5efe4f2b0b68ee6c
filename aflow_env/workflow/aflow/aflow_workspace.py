# SPDX-License-Identifier: Apache-2.0
"""AFlow's workspace: DATASET/workflows/ with a round_N/ for each workflow, its experience and log, and results.json.

A workflow is a folder with graph.py, prompt.py and an empty __init__.py. Files have the form of AFlow's code.
results.json has one entry a validation run (`round`, `score`, `avg_cost`, `total_cost`, `time`), experience.json the
`father node`, `modification`, `before`, `after` and `succeed`, log.json the failed cases, SCORE_TIME.csv a row for each
problem of one validation run. An empty results.json or log.json has no entry. An entry of results.json has one CSV, the
latest whose mean is its score. Any other CSV is from an earlier search, and `Workspace.stale` names it. Reading a
written workspace gives the same. AFlow needs its own `scripts` package beside the workspace: template/operator.py
imports AFlow's operators from there, and defines Vote and Select in plain Python.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from aflow_env.errors import ConfigError
from aflow_env.files import write_text
from aflow_env.workflow.aflow.standalone import template_operators
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.signatures import SIGNATURES

JSON = Any
ROUNDED = 1e-4
"""AFlow writes means with five digits."""
_ROUND_IMPORT = re.compile(r"^([ \t]*(?:import|from)[ \t]+workspace\.[\w.]*\.round_)\w+(?=\.prompt\b)", re.MULTILINE)


@dataclass(frozen=True)
class AflowRound:
    """One scored round. `results` are its entries of results.json, `log` its failed cases. The start has no experience.

    `scores` are the scores of all problems in all runs that have a CSV.
    """

    number: int
    workflow: Workflow
    results: tuple[dict[str, JSON], ...]
    experience: dict[str, JSON] | None = None
    log: tuple[JSON, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def father(self) -> int | None:
        """The parent's round; None for the start."""
        return None if self.experience is None else int(self.experience["father node"])

    @property
    def score(self) -> float:
        """The mean over its runs, in [0, 1]."""
        return sum(float(entry["score"]) for entry in self.results) / len(self.results)


@dataclass(frozen=True)
class Workspace:
    """The scored rounds by ascending number. `left_out` has the reason for each other folder.

    `stale` are the CSV files without an entry in results.json, whose scores do not count.
    """

    dataset: str
    rounds: tuple[AflowRound, ...]
    left_out: Mapping[int, str] = field(default_factory=dict)
    stale: tuple[Path, ...] = ()


def read_workflow(folder: Path) -> Workflow:
    """Read the unchanged texts of a workflow. Without prompt.py there are no prompts. Raises ConfigError."""
    graph, prompts = folder / "graph.py", folder / "prompt.py"
    if not graph.is_file():
        raise ConfigError(f"{folder} holds no graph.py: name a folder such as workspace/GSM8K/workflows/round_3")
    return Workflow(_text(graph), _text(prompts) if prompts.is_file() else "")


def write_workflow(workflow: Workflow, folder: Path) -> None:
    """Write or replace the three files, each atomically.

    In a folder round_N the graph imports that round's prompts, as AFlow needs it. The digest does not change.
    """
    graph = workflow.graph
    if number := re.fullmatch(r"round_(\w+)", folder.name):
        graph = _ROUND_IMPORT.sub(rf"\g<1>{number[1]}", graph)
    for name, text in (("__init__.py", ""), ("prompt.py", workflow.prompts), ("graph.py", graph)):
        write_text(folder / name, text)


def find_workflows(path: Path) -> Path:
    """Return the `workflows` folder, which is the path, in it, or in its only data set. Raises ConfigError."""
    path = path.resolve()
    candidates = [path, path / "workflows", *sorted(path.glob("*/workflows"))]
    found = [folder for folder in candidates if any(folder.glob("round_*/graph.py"))]
    if not found:
        raise ConfigError(f"{path} holds no round_N/graph.py: name a folder such as workspace/GSM8K")
    if len(found) > 1:
        raise ConfigError(f"{path} holds several data sets: name one of {', '.join(str(f.parent) for f in found)}")
    return found[0]


def read_workspace(path: Path) -> Workspace:
    """Read the workspace at `path`. Raises ConfigError with the name of an unreadable file."""
    folder = find_workflows(path)
    entries: dict[int, list[dict[str, JSON]]] = {}
    for entry in _load(folder / "results.json", list):
        if not _is_result(entry):
            raise ConfigError(f"{folder / 'results.json'}: {str(entry)[:200]} has no round, score in [0, 1] and cost")
        entries.setdefault(int(entry["round"]), []).append(entry)
    rounds: dict[int, AflowRound] = {}
    left_out: dict[int, str] = {}
    stale: list[Path] = []
    for number in sorted(set(entries) | _numbers(folder)):
        home = folder / f"round_{number}"
        experience = _load(home / "experience.json", dict) if (home / "experience.json").is_file() else None
        if not (home / "graph.py").is_file():
            left_out[number] = "it has no graph.py"
        elif number not in entries:
            left_out[number] = "it was never scored"
        elif number > 1 and (experience is None or _father(experience, home) not in rounds):
            left_out[number] = "the round that it came from is unknown or was not scored"
        else:
            log = tuple(_load(home / "log.json", list)) if (home / "log.json").is_file() else ()
            tables = {file: found for file in sorted(home.glob("*.csv")) if (found := _csv_scores(file))}
            counted = _counted(tables, [float(entry["score"]) for entry in entries[number]])
            stale.extend(file for file in tables if file not in counted)
            scores = tuple(score for file in counted for score in tables[file])
            rounds[number] = AflowRound(number, read_workflow(home), tuple(entries[number]), experience, log, scores)
    if 1 not in rounds:
        raise ConfigError(f"{folder}: round 1, where every search starts, has no graph.py or no score in results.json")
    return Workspace(folder.parent.name, tuple(rounds.values()), left_out, tuple(stale))


def write_workspace(workspace: Workspace, root: Path, answers: str = "text") -> Path:
    """Write or replace the files of `root`/DATASET/workflows, and return it. Vote counts answers of kind `answers`."""
    folder = root / workspace.dataset / "workflows"
    for each in workspace.rounds:
        home = folder / f"round_{each.number}"
        write_workflow(each.workflow, home)
        _dump(home / "log.json", list(each.log))
        if each.experience is not None:
            _dump(home / "experience.json", each.experience)
    _dump(folder / "processed_experience.json", processed(workspace))
    _dump(folder / "results.json", [entry for each in workspace.rounds for entry in each.results])
    template = folder / "template"
    if not (template / "operator.py").exists():  # AFlow's own, where we write into its workspace
        write_text(template / "__init__.py", "")
        write_text(template / "operator.py", template_operators(answers))
        known = SIGNATURES.items()
        described = {name: {"description": each.description(), "interface": each.interface()} for name, each in known}
        _dump(template / "operator.json", described)
    return folder


def processed(workspace: Workspace) -> dict[str, JSON]:
    """Return AFlow's processed_experience.json: for each father its score, and the modifications that helped or not."""
    fathers: dict[str, JSON] = {}
    for each in workspace.rounds:
        if each.experience is not None:
            experience = each.experience
            father = fathers.setdefault(str(each.father), {"score": experience["before"], "success": {}, "failure": {}})
            kind = "success" if experience["succeed"] else "failure"
            father[kind][str(each.number)] = {"modification": experience["modification"], "score": experience["after"]}
    return fathers


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # line ends as they are
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def _numbers(folder: Path) -> set[int]:
    names = (re.fullmatch(r"round_(\d+)", each.name) for each in folder.iterdir() if each.is_dir())
    return {int(name[1]) for name in names if name}


def _is_result(entry: JSON) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("round"), int):
        return False
    cost = isinstance(entry.get("total_cost") or 0.0, int | float)
    return cost and isinstance(entry.get("score"), int | float) and 0.0 <= entry["score"] <= 1.0


def _father(experience: Mapping[str, JSON], home: Path) -> int:
    try:
        return int(experience["father node"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{home / 'experience.json'} names no round as its `father node`") from error


def _counted(tables: Mapping[Path, list[float]], scores: Sequence[float]) -> list[Path]:
    """Return for each run's score the latest table, by name, with that mean. A table is of one run."""
    waiting = sorted(tables, key=lambda file: file.stem.partition("_")[2])
    counted = []
    for score in scores:
        fitting = [file for file in waiting if abs(fmean(tables[file]) - score) < ROUNDED]
        if fitting:
            waiting.remove(fitting[-1])
            counted.append(fitting[-1])
    return counted


def _csv_scores(file: Path) -> list[float]:
    """Return the scores of AFlow's CSV; none for another table."""
    csv.field_size_limit(2**31 - 1)  # Python's default of 131,072 characters is too short for some answers
    with file.open(encoding="utf-8-sig", newline="") as lines:
        try:
            return [float(row["score"]) for row in csv.DictReader(lines)]
        except (KeyError, TypeError, ValueError, csv.Error):
            return []


def _load(file: Path, kind: type) -> Any:
    """The file's value; an empty one of `kind` for an empty file. Raises ConfigError."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        value = json.loads(text) if text.strip() else kind()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise ConfigError(f"{file} holds a {type(value).__name__}, where AFlow writes a {kind.__name__}")
    return value


def _dump(file: Path, value: JSON) -> None:
    write_text(file, json.dumps(value, indent=4, ensure_ascii=False))
