# SPDX-License-Identifier: Apache-2.0
"""`run`: a workflow on a file of problems, through failures of the workflow, of the world, and of this process."""

import fcntl
import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from aflow_env.config import TaskConfig
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import start_workflow
from aflow_env.workflow.aflow.aflow_workspace import write_workflow
from tests.cli.conftest import Command
from tests.cli.verbs.working import command, executor, two_calls
from tests.llm.server import answer, serve_beside

STORY = "Mia has 12 apples. She buys {n} more. How many apples does Mia have now?"


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_problem_gets_one_line_and_is_not_asked_again(aflow: Command, tmp_path: Path) -> None:
    """A workflow's failure is an answer with its outcome; the same command asks nothing that is answered."""
    source = write(tmp_path / "in.jsonl", {"problem": "a"}, {"problem": "fail"}, {"id": "c", "problem": "c"})
    output = tmp_path / "out.jsonl"
    with serve_beside() as (address, books):
        words = ("run", two_calls(tmp_path / "w"), "--input", source, "--output", output, *executor(address))
        said = aflow(*words)
        asked = sum(books.attempts.values())
        again = aflow(*words)
        assert sum(books.attempts.values()) == asked == 4
    assert (said.status, again.status) == (0, 0)
    assert said.out.strip() == f"{output}: 3 answered (crash 1), 0 were there, 0 left, 0.0000 USD"
    assert again.out.strip() == f"{output}: 0 answered, 3 were there, 0 left, 0.0000 USD"
    lines = {line.get("id", line.get("line")): line for line in read(output)}
    assert set(lines) == {1, 2, "c"}
    assert lines[1]["answer"] == answer(f"Check: {answer('Draft: a')}")
    assert lines[1]["calls"] == 2
    assert lines[1]["tokens"]["output"] > 0
    assert (lines[2]["outcome"], lines[2]["answer"]) == ("crash", None)
    assert "too hard" in lines[2]["error"]


def test_failures_of_the_world_are_no_answers_and_are_asked_again(aflow: Command, tmp_path: Path) -> None:
    """The output never holds a failure of a server; the next run has the answer."""
    source = write(tmp_path / "in.jsonl", {"problem": "a"}, {"problem": "lost"})
    output = tmp_path / "out.jsonl"
    words = ("run", two_calls(tmp_path / "w"), "--input", source, "--output", output, "executor.max_attempts=1")
    with serve_beside(lambda prompt, attempt: "500" if "lost" in prompt else "") as (address, _):
        said = aflow(*words, *executor(address))
    assert said.status == 3
    assert "1 problem lost to failures of the world" in said.err
    assert "1 answered, 0 were there, 1 left" in said.out
    assert [line["line"] for line in read(output)] == [1]
    with serve_beside() as (address, books):
        assert aflow(*words, *executor(address)).status == 0
        assert not any(prompt.endswith(": a") for prompt in books.attempts)
    assert sorted(line["line"] for line in read(output)) == [1, 2]


def test_a_server_that_is_gone_ends_the_run_soon(aflow: Command, tmp_path: Path) -> None:
    """Thousands of problems are not thrown at a server that is not there."""
    source = write(tmp_path / "in.jsonl", *({"problem": f"p{number}"} for number in range(200)))
    with serve_beside(lambda prompt, attempt: "500") as (address, books):
        more = (*executor(address), "executor.max_attempts=1", "executor.breaker_failures=1000")
        said = aflow("run", two_calls(tmp_path / "w"), "--input", source, "--output", tmp_path / "o", *more)
        assert sum(books.attempts.values()) < 50
    assert said.status == 3


def test_the_budget_holds_over_runs_of_the_command(aflow: Command, tmp_path: Path) -> None:
    """A ceiling is one for the whole file, however often the command is started; raised, the rest is answered."""
    source = write(tmp_path / "in.jsonl", *({"problem": f"p{number}"} for number in range(5)))
    output = tmp_path / "out.jsonl"
    with serve_beside() as (address, books):
        words = ("run", two_calls(tmp_path / "w"), "--input", source, "--output", output, "--concurrency", 1)
        first = aflow(*words, *executor(address), "budget.calls=4")
        second = aflow(*words, *executor(address), "budget.calls=4")
        assert sum(books.attempts.values()) == 4
        assert (first.status, second.status) == (3, 3)
        assert "budget.calls is reached" in second.err
        assert len(read(output)) == 2
        assert aflow(*words, *executor(address), "budget.calls=10").status == 0
        assert set(books.attempts.values()) == {1}, "something was paid for twice"
    assert len(read(output)) == 5


def test_a_killed_run_goes_on_with_whole_lines(tmp_path: Path) -> None:
    """After kill -9 at any instant each problem has one line in the end, and an answered call is not asked again."""
    count, kills, random = 18, 0, Random(3)
    source = write(tmp_path / "in.jsonl", *({"id": number, "problem": f"p{number}"} for number in range(count)))
    output = tmp_path / "out.jsonl"
    output.touch()
    with serve_beside() as (address, books):
        words = command("run", two_calls(tmp_path / "w"), "--input", source, "--output", output, *executor(address))
        status = -1
        while status:
            before = output.read_bytes().rpartition(b"\n")[0]
            process = subprocess.Popen([*words, "--concurrency", "2"], stdout=subprocess.DEVNULL)
            while process.poll() is None and output.read_bytes().count(b"\n") < before.count(b"\n") + 6:
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.05))
            process.kill()
            status = process.wait()
            assert output.read_bytes().startswith(before), "an answer is lost, or changed"
            if status:
                kills += 1
                with output.open("ab") as file:
                    file.write(b'{"id": 7, "outco')  # what a kill within a write leaves
        assert kills >= 2
        twice = sum(times > 1 for times in books.attempts.values())
        assert twice <= 2 * kills, "only a call that was under way at a kill may be asked twice"
    assert sorted(line["id"] for line in read(output)) == list(range(count))


def test_records_of_an_own_task_need_no_answer(aflow: Command, tmp_path: Path) -> None:
    """The templates of the task's YAML make the problem from its fields, as they did in the search."""
    (tmp_path / "units.yaml").write_text('name: units\nprompt: "Convert: {question}"\nscorer: number\nanswer: "{a}"\n')
    source, output = write(tmp_path / "in.jsonl", {"question": "3 m in cm?"}), tmp_path / "out.jsonl"
    with serve_beside() as (address, books):
        more = ("task=own", f"task.name={tmp_path}/units.yaml", *executor(address))
        assert aflow("run", two_calls(tmp_path / "w"), "--input", source, "--output", output, *more).status == 0
        assert "Draft: Convert: 3 m in cm?" in books.attempts
        write(source, {"prompt": "3 m in cm?"})
        said = aflow("run", two_calls(tmp_path / "w"), "--input", source, "--output", tmp_path / "o", *more)
    assert (said.status, "line 1, field `question` is missing" in said.err) == (2, True)


def test_a_run_is_used_with_its_own_executor_or_another(aflow: Command, finished: Path, tmp_path: Path) -> None:
    """A run brings its best workflow and its executor; overrides name another, and leave the run as it was."""
    source = write(tmp_path / "in.jsonl", {"problem": STORY.format(n=7)})
    before = aflow("show", finished, "--json").json
    said = aflow("run", finished, "--input", source, "--output", tmp_path / "one.jsonl")
    assert (said.status, "USD (SIMULATED)" in said.out) == (0, True)
    with serve_beside() as (address, books):
        said = aflow("run", finished, "--input", source, "--output", tmp_path / "two.jsonl", *executor(address))
        assert (said.status, "SIMULATED" in said.out) == (0, False)
        assert books.billed
    assert aflow("show", finished, "--json").json == before


def test_a_code_task_reads_entry_point_and_public_tests(aflow: Command, tmp_path: Path) -> None:
    """The workflow is called with the name of the function; a problem without one is an error that says so."""
    write_workflow(start_workflow("default", load_task(TaskConfig(name="humaneval")).spec), tmp_path / "w")
    record = {"problem": "def add(a, b): ...", "entry_point": "add", "public_tests": ["assert add(1, 2) == 3"]}
    words = ("run", tmp_path / "w", "--input", write(tmp_path / "in.jsonl", record), "task=humaneval")
    with serve_beside(model=lambda prompt: "```python\ndef add(a, b):\n    return a + b\n```") as (address, _):
        assert aflow(*words, "--output", tmp_path / "out.jsonl", *executor(address)).status == 0
        write(tmp_path / "in.jsonl", {"problem": "def add(a, b): ..."})
        said = aflow(*words, "--output", tmp_path / "other.jsonl", *executor(address))
    assert read(tmp_path / "out.jsonl")[0]["answer"] == "def add(a, b):\n    return a + b"
    assert (said.status, "name it in entry_point" in said.err) == (2, True)


def test_an_unknown_price_is_no_cost_of_zero(aflow: Command, tmp_path: Path) -> None:
    """Where no price is known, neither the summary nor a line names a cost."""
    source = write(tmp_path / "in.jsonl", {"problem": "a"})
    with serve_beside() as (address, _):
        more = (*executor(address), "executor.prices=null")
        said = aflow("run", two_calls(tmp_path / "w"), "--input", source, "--output", tmp_path / "out.jsonl", *more)
    assert "cost unknown" in said.out
    assert read(tmp_path / "out.jsonl")[0]["cost_usd"] is None


def test_a_mixed_output_is_refused(aflow: Command, finished: Path, tmp_path: Path) -> None:
    """Answers of another workflow, to other problems, or by another process never stand in one file."""
    source = write(tmp_path / "in.jsonl", {"problem": STORY.format(n=7)})
    words = ("--input", source, "--output", tmp_path / "out.jsonl")
    assert aflow("run", finished, *words).status == 0
    other = aflow("run", two_calls(tmp_path / "w"), *words)
    assert (other.status, "no answer of workflow" in other.err) == (2, True)
    write(source, {"problem": STORY.format(n=8)})
    changed = aflow("run", finished, *words)
    assert (changed.status, "the input has changed" in changed.err) == (2, True)
    write(source, {"id": 1, "problem": "a"}, {"id": 1, "problem": "b"})
    twice = aflow("run", finished, *words)
    assert (twice.status, "ids must be unique" in twice.err) == (2, True)
    with (tmp_path / "out.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        busy = aflow("run", finished, *words[:2], "--output", tmp_path / "out.jsonl")
    assert busy.status == 2


def test_ctrl_c_finishes_what_is_under_way(tmp_path: Path) -> None:
    """The first Ctrl-C begins no more problems; each line in the file is whole, and the status is 130."""
    source = write(tmp_path / "in.jsonl", *({"problem": f"p{number}"} for number in range(200)))
    output = tmp_path / "out.jsonl"
    with serve_beside() as (address, _):
        words = command("run", two_calls(tmp_path / "w"), "--input", source, "--output", output, *executor(address))
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not (output.is_file() and output.stat().st_size):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"{len(read(output))} answered" in out
    assert "Ctrl-C: finishing the problems under way" in err


def test_a_workflow_that_would_not_be_run_is_refused_at_once(aflow: Command, tmp_path: Path) -> None:
    """A broken folder is one error, not a file of crashes."""
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "graph.py").write_text("import os\n")
    source = write(tmp_path / "in.jsonl", {"problem": "a"})
    said = aflow("run", tmp_path / "w", "--input", source, "--output", tmp_path / "out.jsonl")
    assert (said.status, "would not be run" in said.err) == (2, True)


@pytest.mark.parametrize("content", ['{"problem": "a"}', '{"id": 1, "problem": "a"}', "notes, one line", "[1]\nnotes"])
def test_a_file_that_is_no_output_is_left_as_it_was(
    aflow: Command, finished: Path, tmp_path: Path, content: str
) -> None:
    """An input, or any other file, that is named as the output loses no byte."""
    source = write(tmp_path / "in.jsonl", {"problem": "a"})
    (tmp_path / "mine").write_text(content)
    said = aflow("run", finished, "--input", source, "--output", tmp_path / "mine")
    assert (said.status, "no answer of workflow" in said.err) == (2, True)
    assert (tmp_path / "mine").read_text() == content


def test_an_output_has_any_name_but_is_a_file(aflow: Command, finished: Path, tmp_path: Path) -> None:
    """Lines are JSON lines whatever the suffix says; a device, which could be read without end, is refused."""
    source = write(tmp_path / "in.jsonl", {"problem": STORY.format(n=7)})
    for name in ("out.json", "out.csv"):
        words = ("run", finished, "--input", source, "--output", tmp_path / name)
        assert aflow(*words).status == 0
        (tmp_path / name).write_text((tmp_path / name).read_text().rstrip("\n"))
        assert "0 answered, 1 were there" in aflow(*words).out
        assert len(read(tmp_path / name)) == 1
    said = aflow("run", finished, "--input", source, "--output", "/dev/full")
    assert (said.status, "no regular file" in said.err) == (2, True)


def test_an_output_that_cannot_grow_is_one_sentence(aflow: Command, finished: Path, tmp_path: Path) -> None:
    """A full disk, here a limit of the file's size, is named with the output; what was written stays usable."""
    source, output = write(tmp_path / "in.jsonl", {"problem": STORY.format(n=7)}), tmp_path / "out.jsonl"
    words = ("run", finished, "--input", source, "--output", output)
    assert aflow(*words).status == 0
    line = output.read_text()
    output.write_text("".join(line.replace('"line": 1', f'"line": {place}') for place in range(2, 60_000)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (output.stat().st_size + 20, before[1]))
    try:
        said = aflow(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (said.status, f"--output={output} cannot be written" in said.err) == (2, True)
    assert "1 answered" in aflow(*words).out
