# SPDX-License-Identifier: Apache-2.0
"""Your own task: the worked example of docs/tasks.md, every scorer, and mistakes that are explained."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aflow_env.errors import ConfigError
from aflow_env.tasks import load_task
from tests.docs.pages import write_files
from tests.tasks.support import config, no_code, run_plainly

TASK = """
name: capitals
path: capitals.jsonl
id: "{country}"
prompt: "Which city is the capital of {country}? {{one word}}"
answer: "{capital}"
scorer: same_text
operators: [Custom, ScEnsemble]
"""


def write(folder: Path, text: str = TASK, rows: list[dict[str, object]] | None = None) -> str:
    rows = [{"country": f"Land {n}", "capital": f"Town {n}"} for n in range(25)] if rows is None else rows
    (folder / "capitals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "capitals.yaml").write_text(text, encoding="utf-8")
    return str(folder / "capitals.yaml")


async def test_a_yaml_is_a_task(tmp_path: Path) -> None:
    task = load_task(config(write(tmp_path)))
    validate, test = task.load("validate"), task.load("test")
    assert (len(validate), len(test)) == (5, 20)
    assert (task.spec.name, task.spec.dataset, task.spec.operators) == (
        "capitals",
        "CAPITALS",
        ("Custom", "ScEnsemble"),
    )
    number = validate[0].id.rpartition(" ")[2]
    assert validate[0].prompt == f"Which city is the capital of Land {number}? {{one word}}"
    for problem in (*validate, *test):
        assert (await task.score(problem, f" {problem.answer.upper()}. ", no_code)).value == 1.0
        assert (await task.score(problem, "Elsewhere", no_code)).value == 0.0


def test_task_path_in_the_config_goes_first(tmp_path: Path) -> None:
    name = write(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "validate.jsonl").write_text('{"country": "A", "capital": "B"}\n')
    assert [p.id for p in load_task(config(name, other)).load("validate")] == ["capitals/A"]


def test_options_of_another_task_are_explained(tmp_path: Path) -> None:
    """What happens to whoever leaves out task=own: the options of the default task are still there."""
    with pytest.raises(ConfigError, match=r"difficulty.*has no such option.*also needs task=own"):
        load_task(config(write(tmp_path), difficulty=[1, 6]))


@pytest.mark.parametrize(
    ("scorer", "right", "wrong"),
    [
        ("number", "It is 7.0", "It is 8"),
        ("whole_number", r"\boxed{7}", "8"),
        ("f1", "seven 7", "8 7"),
        ("alternatives", "7", "8|7"),
        ("math", r"\boxed{\frac{14}{2}}", r"\boxed{8}"),
    ],
)
async def test_every_text_scorer(tmp_path: Path, scorer: str, right: str, wrong: str) -> None:
    name = write(tmp_path, TASK.replace("same_text", scorer), [{"country": "A", "capital": 7}])
    task = load_task(config(name))
    problem = task.load("validate")[0]
    assert (await task.score(problem, right, no_code)).value > 0.6
    assert (await task.score(problem, wrong, no_code)).value == 0.0


async def test_code_is_scored_by_hidden_tests(tmp_path: Path) -> None:
    text = """
name: doubling
path: capitals.jsonl
prompt: "Write {name}(n), which gives {k} times n."
scorer: tests
operators: [Custom, CustomCodeGenerate, Test]
entry_point: "{name}"
public_tests: examples
tests: "def check(candidate):\\n    assert candidate(10) == 10 * {k}"
"""
    rows: list[dict[str, object]] = [
        {"name": f"times{k}", "k": k, "examples": [f"assert times{k}(1) == {k}"]} for k in range(2, 7)
    ]
    task = load_task(config(write(tmp_path, text, rows)))
    assert task.spec.entry_point
    for problem in task.load("test"):
        assert problem.public_tests
        assert "candidate" not in problem.prompt
        k = int(str(problem.entry_point)[-1])
        assert (await task.score(problem, f"def times{k}(n): return n * {k}", run_plainly)).correct
        assert not (await task.score(problem, f"def times{k}(n): return {k}", run_plainly)).correct


@pytest.mark.parametrize(
    ("tests", "complaint"),
    [
        ("def check(c: assert c", "is not Python"),
        ("assert helper(f(1)) == 2", "uses helper: neither Python nor the tests define that, and they see only f"),
    ],
)
def test_tests_that_judge_nothing_are_refused_when_they_are_read(tmp_path: Path, tests: str, complaint: str) -> None:
    """Every solution would score 0 under them, without a word."""
    text = TASK.replace("same_text", "tests") + 'entry_point: f\ntests: "{tests}"\n'
    name = write(tmp_path, text, [{"country": "A", "capital": "B", "tests": tests}])
    with pytest.raises(ConfigError, match=rf"line 1: the code of `tests` cannot judge a solution: it {complaint}"):
        load_task(config(name)).load("validate")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("scorer: same_text", "scorer: vibes"), r"capitals\.yaml: scorer='vibes': .* module:function"),
        (("scorer: same_text", "scorer: no_such_judge:f"), r"scorer='no_such_judge:f': cannot import"),
        (("scorer: same_text", "scorer: json:f"), r"scorer='json:f': the module json .* has no f to call"),
        (
            ("{capital}", "{town}"),
            r"capitals\.jsonl line 1, field `town` is missing; the fields there are: capital, country",
        ),
        (("Custom, ScEnsemble", "Custom, Oracle"), "there is no 'Oracle'"),
        (("scorer: same_text", "scorer: tests"), "scorer tests needs `entry_point`"),
        (("name: capitals", "nom: capitals"), "nom='capitals': there is no such key"),
        (("path: capitals.jsonl", "path: nowhere.jsonl"), "no such file or folder"),
        (("name: capitals", "name: [capitals"), "cannot be read"),
        (("{{one word}}", "{one word"), r"capitals\.yaml: prompt: a brace has no partner at '{one word'"),
        (("{{one word}}", "{one word}"), r"line 1, field `one word` is missing"),
        (('id: "{country}"', 'id: "same"'), r"line \d+: the id 'capitals/same' is there twice"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, same_path: None, change: tuple[str, str], complaint: str) -> None:
    name = write(tmp_path, TASK.replace(*change))
    with pytest.raises(ConfigError, match=complaint):
        load_task(config(name, validate=25)).load("validate")


@pytest.fixture
def same_path() -> Iterator[None]:
    """The folders that a test makes importable are forgotten after it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.mark.parametrize(
    ("body", "value", "correct"),
    [
        ("len(answer) / (len(answer) + len(output))", 0.5, False),
        ("answer == output", 1.0, True),
        ("False", 0.0, False),
        ("(answer == output, 'said')", 1.0, True),
        ("(0.25, 'said')", 0.25, False),
        ("__import__('aflow_env.tasks').tasks.Score(0.25, answer, False, feedback='said')", 0.25, False),
        ("1.5", None, None),
        ("10**400", None, None),
        ("'good'", None, None),
        ("float('nan')", None, None),
        ("(1.5, 'said')", None, None),
        ("(0.5, None)", None, None),
        ("(0.5, 'said', 'more')", None, None),
        ("[0.5, 'said']", None, None),
        ("__import__('aflow_env.tasks').tasks.Score(2, answer, False)", None, None),
        ("__import__('aflow_env.tasks').tasks.Score(0.5, answer, False, feedback=7)", None, None),
    ],
)
async def test_a_function_beside_the_yaml_scores(
    tmp_path: Path, same_path: None, body: str, value: float | None, correct: bool | None
) -> None:
    (tmp_path / "my_judge.py").write_text(f"def judge(answer, output):\n    return {body}\n", encoding="utf-8")
    try:
        task = load_task(config(write(tmp_path, TASK.replace("same_text", "my_judge:judge"))))
        problem = task.load("validate")[0]
        if value is None:
            with pytest.raises(ConfigError, match=r"scorer='my_judge:judge' gave .* return a number from 0 to 1"):
                await task.score(problem, problem.answer, no_code)
        else:
            score = await task.score(problem, problem.answer, no_code)
            assert (score.value, score.correct, score.extracted) == (value, correct, problem.answer)
            assert score.feedback == ("said" if "said" in body else "")
    finally:
        sys.modules.pop("my_judge", None)


async def test_fields_may_have_any_name(tmp_path: Path) -> None:
    """A field is whatever stands in the braces, with or without spaces around it; `{}` and doubled braces are plain."""
    text = (
        TASK.replace("{country}", "{Land: the name}").replace("{capital}", "{ Correct Answer }") + "tests: '{} {{a}}'\n"
    )
    rows: list[dict[str, object]] = [{"Land: the name": "Chile", "Correct Answer": "Santiago"}]
    (problem,) = load_task(config(write(tmp_path, text, rows))).load("validate")
    assert (problem.id, problem.answer, problem.hidden_tests) == ("capitals/Chile", "Santiago", "{} {a}")
    assert "capital of Chile?" in problem.prompt


@pytest.mark.parametrize(
    ("scorer", "answer", "complaint"),
    [
        ("number", "five", "has no number in it"),
        ("number", "9" * 400, "has no number in it"),
        ("whole_number", "B", "should be a whole number"),
        ("whole_number", "12.5", "should be a whole number"),
        ("same_text", " ", "should hold an answer"),
        ("f1", "", "should hold an answer"),
        ("alternatives", " | ", "holds no answer"),
        ("math", r"\boxed{}", "holds no formula"),
        ("math", "", "holds no formula"),
        ("same_text", "\ud800", "holds half of a surrogate pair"),
    ],
)
def test_a_gold_that_no_output_can_match_is_refused(tmp_path: Path, scorer: str, answer: str, complaint: str) -> None:
    """It is said when the file is read, with file, line and field, and not as a score of 0 in the end."""
    rows: list[dict[str, object]] = [{"country": "A", "capital": 7}, {"country": "B", "capital": answer}]
    task = load_task(config(write(tmp_path, TASK.replace("same_text", scorer), rows)))
    with pytest.raises(ConfigError, match=rf"capitals\.jsonl line 2, field `capital` {complaint}"):
        task.load("validate")


@pytest.mark.parametrize(("scorer", "answer"), [("whole_number", "1,000"), ("whole_number", "12.0"), ("number", "1e3")])
async def test_a_gold_is_read_as_outputs_are(tmp_path: Path, scorer: str, answer: str) -> None:
    name = write(tmp_path, TASK.replace("same_text", scorer), [{"country": "A", "capital": answer}])
    task = load_task(config(name))
    (problem,) = task.load("validate")
    assert (await task.score(problem, str(int(float(answer.replace(",", "")))), no_code)).correct


def test_byte_order_marks_are_passed_over_and_other_encodings_named(tmp_path: Path) -> None:
    """Files that other programs wrote: a mark at the start of the YAML, of the data, and of each joined part."""
    name = write(tmp_path)
    rows = '\ufeff{"country": "A", "capital": "B"}\r\n\ufeff{"country": "C", "capital": "D"}\r\n\ufeff\n'
    (tmp_path / "capitals.jsonl").write_text(rows, encoding="utf-8", newline="")
    (tmp_path / "capitals.yaml").write_text("\ufeff" + TASK, encoding="utf-8")
    task = load_task(config(name))
    assert len(task.load("validate")) + len(task.load("test")) == 2
    (tmp_path / "capitals.jsonl").write_text(rows, encoding="utf-16")
    with pytest.raises(
        ConfigError, match=r"capitals\.jsonl line 1: is not UTF-8 text \(it is UTF-16\).*save it as UTF-8"
    ):
        load_task(config(name)).load("validate")
    (tmp_path / "capitals.jsonl").write_text('{"capital": ' + "9" * 5000 + "}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"capitals\.jsonl line 1: is not JSON \(a number is too long\)"):
        load_task(config(name)).load("validate")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (
            "output[99]",
            r"raised IndexError: string index out of range, for capitals/Land \d+, where the reply begins 'Hi'",
        ),
        ("exit(3)", r"raised SystemExit: 3, for capitals/Land \d+"),
        ("None", r"gave None \(NoneType\) for capitals/Land \d+, where the reply begins 'Hi'"),
        ("-0.1", r"gave -0\.1 \(float\)"),
        ("[1] * 10**6", r"gave \[1, 1, 1, 1, 1, 1, \.\.\.\] \(list\)"),
    ],
)
async def test_a_function_that_fails_names_problem_and_reply(
    tmp_path: Path, same_path: None, body: str, complaint: str
) -> None:
    (tmp_path / "bad_judge.py").write_text(f"def judge(answer, output):\n    return {body}\n", encoding="utf-8")
    try:
        task = load_task(config(write(tmp_path, TASK.replace("same_text", "bad_judge:judge"))))
        with pytest.raises(ConfigError, match=complaint):
            await task.score(task.load("validate")[0], "Hi", no_code)
    finally:
        sys.modules.pop("bad_judge", None)


async def test_prints_of_a_function_go_to_standard_error(
    tmp_path: Path, same_path: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output belongs to `--json`."""
    source = "print('import')\ndef judge(answer, output):\n    print('score')\n    return True\n"
    (tmp_path / "loud_judge.py").write_text(source, encoding="utf-8")
    try:
        task = load_task(config(write(tmp_path, TASK.replace("same_text", "loud_judge:judge"))))
        assert (await task.score(task.load("validate")[0], "x", no_code)).correct
    finally:
        sys.modules.pop("loud_judge", None)
    assert capsys.readouterr() == ("", "import\nscore\n")


def test_a_module_that_fails_is_named(tmp_path: Path, same_path: None) -> None:
    (tmp_path / "broken_judge.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"scorer='broken_judge:judge': cannot import .* \(ZeroDivisionError"):
        load_task(config(write(tmp_path, TASK.replace("same_text", "broken_judge:judge"))))
    (tmp_path / "leaving_judge.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"cannot import .* \(SystemExit"):
        load_task(config(write(tmp_path, TASK.replace("same_text", "leaving_judge:judge"))))
    with pytest.raises(
        ConfigError, match=r"module time \(built into Python: give your file another name\) has no judge"
    ):
        load_task(config(write(tmp_path, TASK.replace("same_text", "time:judge"))))


CLASS = """
from aflow_env.tasks import Problem, Score
from aflow_env.workflow.program import TaskSpec


class Echo:
    spec = TaskSpec("echo", "ECHO", ("Custom",))

    def __init__(self, config):
        self.count = config.validate_size

    def load(self, split, limit=None, seed=0):
        return [Problem(f"{split}/{n}", f"Say {n}.", str(n)) for n in range(limit or self.count)]

    async def score(self, problem, output, run_code):
        return Score(float(output == problem.answer), output, output == problem.answer)


class Half:
    def __init__(self, config):
        pass


class Plain(Echo):
    async def score(self, problem, output, run_code):
        return (1 / len(output), "nearly") if output in ("", "text") else output
"""


async def test_a_class_in_the_current_folder_is_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_path: None
) -> None:
    (tmp_path / "my_echo_task.py").write_text(CLASS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    try:
        task = load_task(config("my_echo_task:Echo", validate=3))
        problems = task.load("validate")
        assert len(problems) == 3
        assert (await task.score(problems[2], "2", no_code)).correct
        plain = load_task(config("my_echo_task:Plain"))
        assert (await plain.score(problems[0], "text", no_code)).feedback == "nearly"
        for said, complaint in (("no", r"gave 'no' \(str\) for validate/0"), ("", "raised ZeroDivisionError")):
            with pytest.raises(ConfigError, match=rf"task\.name='my_echo_task:Plain' {complaint}"):
                await plain.score(problems[0], said, no_code)
        with pytest.raises(ConfigError, match="has no Nothing to call"):
            load_task(config("my_echo_task:Nothing"))
        with pytest.raises(ConfigError, match="Half has no spec, load, score"):
            load_task(config("my_echo_task:Half"))
    finally:
        sys.modules.pop("my_echo_task", None)


def test_a_module_that_is_not_there_is_explained(same_path: None) -> None:
    with pytest.raises(ConfigError, match=r"cannot import 'no_such_module'.*PYTHONPATH"):
        load_task(config("no_such_module:Task"))


async def test_the_worked_examples_in_the_docs_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_path: None
) -> None:
    write_files("tasks.md", tmp_path)
    task = load_task(config(str(tmp_path / "units.yaml")))
    problems = [*task.load("validate"), *task.load("test")]
    for problem in problems:
        assert (await task.score(problem, f"That makes {problem.answer}.", no_code)).correct
    monkeypatch.chdir(tmp_path)
    try:
        task = load_task(config("palindromes:Palindromes", validate=20, test=20))
        validate, test = task.load("validate"), task.load("test", 5)
        assert (len(validate), len(test)) == (20, 5)
        assert len({problem.digest for problem in (*validate, *test)}) == 25
        for problem in validate:
            letter, length = problem.answer.split()
            assert (await task.score(problem, f" {letter.upper() * int(length)}\n", no_code)).correct
            assert not (await task.score(problem, letter * (int(length) + 1), no_code)).correct
            assert not (await task.score(problem, "", no_code)).correct
    finally:
        sys.modules.pop("palindromes", None)
