# SPDX-License-Identifier: Apache-2.0
"""Every benchmark has a config file that fits it, AFlow's sizes, and a start workflow that its rules allow."""

from pathlib import Path

import pytest
import yaml

from aflow_env.cli.compose import load
from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.tasks import TASKS, load_task
from aflow_env.tasks.baselines import start_steps
from aflow_env.workflow.gate import check
from aflow_env.workflow.steps import to_steps, to_workflow
from tests.tasks.support import run_plainly

FOLDER = Path(__file__).parents[2] / "conf" / "aflow" / "task"
SIZES = {
    "gsm8k": (264, 1055),
    "math": (119, 486),
    "humaneval": (33, 131),
    "mbpp": (86, 341),
    "hotpotqa": (200, 800),
    "drop": (200, 800),
}


def read(name: str) -> TaskConfig:
    return TaskConfig.model_validate(yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def test_each_task_has_its_file_and_no_file_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("*.yaml")} == {*TASKS, "own"}


@pytest.mark.parametrize("name", TASKS)
def test_the_file_makes_the_task_and_its_start_passes_the_gate(name: str) -> None:
    config = read(name)
    task = load_task(config)
    assert config.name == task.spec.name == name
    assert (config.validate_size, config.test_size) == SIZES.get(name, (config.validate_size, config.test_size))
    workflow = to_workflow(start_steps(task.spec), task.spec)
    check(workflow, task.spec)
    assert to_steps(workflow) == start_steps(task.spec)


@pytest.mark.parametrize("name", TASKS)
def test_a_search_starts_from_the_plain_question_and_its_edits_hold_the_plain_prompt(name: str) -> None:
    """The embedded task alone has a handicap; mathematics asks for a box and code for a fenced function."""
    config = read(name)
    spec = load_task(config).spec
    [start] = start_steps(spec)
    assert (start.instruction == "") == (name != "arithmetic")
    assert len(set(config.instructions)) == len(config.instructions) == 6
    if name in ("gsm8k", "math", "aime"):
        assert "\\boxed{}" in config.instructions[0]
    if spec.entry_point:
        assert "```python" in config.instructions[0]


@pytest.mark.parametrize("name", ["drop", "livecodebench"])
def test_tasks_without_a_data_set_to_fetch_ask_for_the_path(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} has no data set to fetch: set task\.path"):
        load_task(read(name)).load("validate")


def test_operators_can_be_chosen() -> None:
    config = read("gsm8k").model_copy(update={"options": {"operators": ["Custom", "Review"]}})
    assert load_task(config).spec.operators == ("Custom", "Review")
    for wrong, said in (
        ("Custom", r"task\.options\.operators='Custom'"),
        (["Custom", "Oracle"], r"task\.options\.operators: there is no 'Oracle' for gsm8k; there are Custom, "),
        (["Custom", "Test"], r"there is no 'Test' for gsm8k"),  # it needs an entry point
    ):
        with pytest.raises(ConfigError, match=said):
            load_task(read("gsm8k").model_copy(update={"options": {"operators": wrong}}))
    code = read("humaneval").model_copy(update={"options": {"operators": ["CustomCodeGenerate", "Test"]}})
    assert load_task(code).spec.operators == ("CustomCodeGenerate", "Test")


@pytest.mark.parametrize("name", sorted({*TASKS, "own"} - {"arithmetic"}))
def test_common_options_can_be_set_and_count_only_where_they_are(name: str) -> None:
    """Left at null they are in no config, and so in no key of a stored result."""
    assert not {"operators", "split_seed"} & set(read(name).options)
    given = (f"task={name}", "task.name=m.yaml", "task.options.operators=[Custom]", "task.options.split_seed=7")
    more = ("executor=openai", "executor.base_url=http://x/v1", "executor.model=m")
    options = load((*given, *more)).task.options
    assert (options["operators"], options["split_seed"]) == (["Custom"], 7)


@pytest.mark.parametrize("name", ["gsm8k", "drop", "humaneval", "mbpp"])
async def test_an_empty_output_scores_nothing_on_real_data(shared: Path, name: str) -> None:
    task = load_task(read(name).model_copy(update={"path": str(shared / "data" / name)}))
    for problem in task.load("validate", 12):
        for output in ("", " \n"):
            assert (await task.score(problem, output, run_plainly)).value == 0.0
