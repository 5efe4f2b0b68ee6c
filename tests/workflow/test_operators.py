# SPDX-License-Identifier: Apache-2.0
"""The twelve operators: what they ask, what they make of any reply, and that they cannot lose a round."""

import asyncio
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from aflow_env.errors import InfrastructureError
from aflow_env.workflow import operators, signatures
from aflow_env.workflow.operators import (
    OPERATORS,
    CodeResult,
    OperatorArgumentError,
    OperatorContext,
    call_operator,
)
from tests.workflow.examples import examples
from tests.workflow.test_parsing import PIECES

ARGUMENTS: dict[str, dict[str, JsonValue]] = {
    "Custom": {"input": "2+2?", "instruction": "Add."},
    "AnswerGenerate": {"input": "2+2?"},
    "CustomCodeGenerate": {"problem": "Add.", "entry_point": "add", "instruction": "Be brief."},
    "ScEnsemble": {"solutions": ["4", "5", "4"], "problem": "2+2?"},
    "Vote": {"solutions": ["4", "5", "4"]},
    "Select": {"solutions": ["def add(a, b): return a - b", "def add(a, b): return a + b"], "entry_point": "add"},
    "MdEnsemble": {"solutions": ["4", "5", "4"], "problem": "2+2?"},
    "Programmer": {"problem": "2+2?"},
    "Test": {"problem": "Add.", "solution": "def add(a, b): return a - b", "entry_point": "add"},
    "Format": {"problem": "2+2?", "solution": "It is 4."},
    "Review": {"problem": "2+2?", "solution": "5"},
    "Revise": {"problem": "2+2?", "solution": "5", "feedback": "Too large."},
}


@dataclass
class World:
    """An LLM that replies from a list (the last reply again and again) and a code runner that runs at once."""

    replies: Sequence[str]
    public_tests: tuple[str, ...] = ()
    answers: str = "text"
    prompts: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)

    async def ask(self, prompt: str, fields: tuple[str, ...]) -> str:
        self.prompts.append(prompt)
        return self.replies[min(len(self.prompts), len(self.replies)) - 1]

    async def run_code(self, code: str, function: str, arguments: list[JsonValue], seconds: float) -> CodeResult:
        assert 0 < seconds <= 60
        self.programs.append(code)
        scope: dict[str, object] = {}
        try:
            exec(code, scope)
            call = scope[function]
            assert callable(call)
            return CodeResult("ok", str(call(*arguments)))
        except BaseException as error:
            return CodeResult("crash", error=f"{type(error).__name__}: {error}")

    def call(self, name: str, **arguments: JsonValue) -> dict[str, JsonValue]:
        context = OperatorContext(self.ask, self.run_code, self.public_tests, answers=self.answers)
        return asyncio.run(call_operator(name, {**ARGUMENTS[name], **arguments}, context))


def test_aflow_s_ten_are_here_with_its_names_and_two_of_ours() -> None:
    attributes = (
        "custom answer_generate custom_code_generate sc_ensemble vote select md_ensemble programmer test format review "
        "revise"
    )
    assert [signature.attribute() for signature in signatures.SIGNATURES.values()] == attributes.split()
    assert list(OPERATORS) == list(signatures.SIGNATURES)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_description_comes_from_the_code(name: str) -> None:
    description, signature = signatures.describe_operators((name,)), signatures.SIGNATURES[name]
    assert f"{signature.attribute()}(" in description
    assert all(f"{argument}: " in description for argument in ARGUMENTS[name])
    assert all(f"'{key}'" in description for key in signature.returns)
    assert inspect.getdoc(OPERATORS[name]), "the result of an unexpected reply is documented"


def test_the_list_for_the_proposer_is_numbered() -> None:
    lines = signatures.describe_operators(("Custom", "Programmer")).splitlines()
    assert lines[0].startswith("1. Custom: ")
    assert lines[1].endswith("programmer(problem: str, analysis: str = 'None') -> dict {'code': str, 'output': str}")


def test_custom_is_the_instruction_then_the_input() -> None:
    world = World([" 4 "])
    assert world.call("Custom") == {"response": "4"}
    world.call("Custom", instruction="")
    world.call("Custom", instruction="Add: ")
    assert world.prompts == ["Add.\n2+2?", "2+2?", "Add: 2+2?"]


@pytest.mark.parametrize(
    ("reply", "thought", "answer"),
    [
        ("<thought>add</thought><answer>4</answer>", "add", "4"),
        ("<thought>add <answer>4", "add", "4"),
        ("4", "", "4"),
        ("<think>hm, <answer>9</answer></think><answer>4</answer>", "", "4"),
        ("", "", ""),
    ],
)
def test_answer_generate(reply: str, thought: str, answer: str) -> None:
    assert World([reply]).call("AnswerGenerate") == {"thought": thought, "answer": answer}


@pytest.mark.parametrize("reply", ["<code>def add(): 1</code>", "```python\ndef add(): 1\n```", "def add(): 1"])
def test_custom_code_generate(reply: str) -> None:
    world = World([reply])
    assert world.call("CustomCodeGenerate") == {"response": "def add(): 1"}
    assert "`add`" in world.prompts[0]
    assert "Be brief." in world.prompts[0]


@pytest.mark.parametrize(
    ("reply", "chosen"),
    [
        ("<solution_letter>B</solution_letter>", "5"),
        ("B", "5"),
        ("<solution_letter>Z</solution_letter>", " 4"),
        ("none of them", " 4"),
        ("", " 4"),
    ],
)
def test_sc_ensemble_votes_by_letter_or_takes_the_most_frequent(reply: str, chosen: str) -> None:
    assert World([reply]).call("ScEnsemble", solutions=["3", "5", " 4", "4"]) == {"response": chosen}


def test_ties_go_to_the_first() -> None:
    assert World([""]).call("ScEnsemble", solutions=["3", "5", "5 ", "3"]) == {"response": "3"}
    assert World([""]).call("MdEnsemble", solutions=["3", "5", "5 ", "3"]) == {"solution": "3"}


def test_an_ensemble_that_agrees_asks_nobody() -> None:
    world = World(["<solution_letter>B</solution_letter>"])
    assert world.call("ScEnsemble", solutions=["Four", " four"]) == {"response": "Four"}
    assert world.call("MdEnsemble", solutions=["4"]) == {"solution": "4"}
    assert world.prompts == []


def test_md_ensemble_counts_votes_over_repeatable_shuffles() -> None:
    class Judge(World):
        async def ask(self, prompt: str, fields: tuple[str, ...]) -> str:
            self.prompts.append(prompt)
            letter = prompt.split(":\nright")[0][-1]
            return f"<solution_letter>{letter}</solution_letter>"

    one, two = Judge([]), Judge([])
    for world in (one, two):
        assert world.call("MdEnsemble", solutions=["wrong", "right", "odd"]) == {"solution": "right"}
    assert one.prompts == two.prompts
    assert len(one.prompts) == signatures.MdEnsemble.calls == 5
    assert len(set(one.prompts)) > 1


def test_programmer_runs_what_it_wrote() -> None:
    world = World(["<code>\ndef solve():\n    return 2 + 2\n</code>"])
    assert world.call("Programmer") == {"code": "def solve():\n    return 2 + 2", "output": "4"}


def test_programmer_mends_its_errors() -> None:
    world = World(["no code today", "<code>def solve(): return 1 / 0</code>", "```\ndef solve(): return 4\n```"])
    # Prose is code too until it is run, so each of the three tries runs once.
    assert world.call("Programmer", analysis="add") == {"code": "def solve(): return 4", "output": "4"}
    assert "ZeroDivisionError" in world.prompts[2]
    assert "1 / 0" in world.prompts[2]
    assert all("<analysis>\nadd\n</analysis>" in prompt for prompt in world.prompts)


@pytest.mark.parametrize(
    ("reply", "output"),
    [
        ("", "Error: there was no code in the reply"),
        ("<code>def solve(): return None</code>", "Error: solve() returned None"),
        ("<code>x = 1</code>", "Error: crash: KeyError"),
        ("<code>def solve(): raise SystemExit</code>", "Error: crash: SystemExit"),
    ],
)
def test_programmer_gives_up_after_three_tries(reply: str, output: str) -> None:
    world = World([reply])
    result = world.call("Programmer")
    assert str(result["output"]).startswith(output)
    assert len(world.prompts) == operators.PROGRAM_TRIES


def test_programmer_feeds_back_a_time_out() -> None:
    class Slow(World):
        async def run_code(self, code: str, function: str, arguments: list[JsonValue], seconds: float) -> CodeResult:
            return CodeResult("timeout", error=f"stopped after {seconds} s")

    world = Slow(["<code>while True: pass</code>"])
    assert world.call("Programmer")["output"] == f"Error: timeout: stopped after {operators.PROGRAM_SECONDS} s"
    assert "stopped after" in world.prompts[1]


TESTS = ("assert add(1, 2) == 3", "def check(candidate):\n    assert candidate(0, 0) == 0")


def test_a_solution_that_passes_costs_no_call() -> None:
    world = World([""], public_tests=TESTS)
    result = world.call("Test", solution="```python\ndef add(a, b): return a + b\n```")
    assert result == {"result": True, "solution": "def add(a, b): return a + b"}
    assert world.prompts == []


def test_a_solution_that_fails_is_repaired_with_the_failing_test() -> None:
    world = World(["", "<code>def add(a, b): return a + b</code>"], public_tests=TESTS)
    assert world.call("Test") == {"result": True, "solution": "def add(a, b): return a + b"}
    assert "assert add(1, 2) == 3\nAssertionError: add(1, 2) is -1" in world.prompts[0]


def test_a_solution_that_stays_wrong_is_said_to_be() -> None:
    world = World(["def add(a, b): return 7"], public_tests=TESTS)
    assert world.call("Test", test_loop=2) == {"result": False, "solution": "def add(a, b): return 7"}
    assert len(world.prompts) == 2
    assert len(world.programs) == 3


@pytest.mark.parametrize(
    ("solution", "result"), [("def add(a, b): return 1", True), ("def sub(): pass", False), ("def add(", False)]
)
def test_without_public_tests_the_code_must_at_least_define_the_entry_point(solution: str, result: bool) -> None:
    assert World([""]).call("Test", solution=solution, test_loop=0)["result"] is result


@pytest.mark.parametrize(
    ("answers", "solutions", "chosen"),
    [
        ("number", ["It is 5.", "so 4", "4.0, as \\boxed{4}", "5 or 6"], "so 4"),
        ("number", ["none", "nothing", "It is 5."], "It is 5."),
        ("number", ["1e3", "1,000", "7", "7", "-0", "0"], "1e3"),
        ("whole_number", ["\\boxed{007}", "7", "8", "7.5"], "\\boxed{007}"),
        ("boxed", ["\\boxed{\\frac{1}{2}}", "\\boxed{0.5}", "$\\boxed{ \\frac{1} {2} }$"], "\\boxed{\\frac{1}{2}}"),
        ("text", ["Paris", "Rome", " paris"], "Paris"),
        ("number", ["what", "no", "No"], "no"),
    ],
)
def test_a_vote_counts_answers_and_returns_the_first_solution_with_the_most_frequent(
    answers: str, solutions: list[JsonValue], chosen: str
) -> None:
    """Equal answers count together however they are written; a solution without an answer has no vote."""
    world = World([""], answers=answers)
    assert world.call("Vote", solutions=solutions) == {"response": chosen}
    assert world.prompts == []


def test_select_returns_the_first_solution_that_passes_and_looks_no_further() -> None:
    """The rest is not run, and nobody is asked."""
    codes = [f"def add(a, b): return {value}" for value in ("a - b", "a + b", "b + a")]
    world = World([""], public_tests=TESTS)
    assert world.call("Select", solutions=[*codes]) == {"result": True, "solution": codes[1]}
    assert (len(world.programs), world.prompts) == (2, [])


def test_select_without_a_pass_returns_the_most_common_behaviour_on_the_public_tests() -> None:
    """Solutions that compute the same wrong values agree, whatever they look like; others do not."""
    codes = [f"def add(a, b): return {value}" for value in ("a * b", "7", "a - b", "-b + a", "3 + 4 + a")]
    result = World([""], public_tests=("assert add(1, 2) == 3",)).call("Select", solutions=[*codes])
    assert result == {"result": False, "solution": codes[2]}


@pytest.mark.parametrize("value", ["fine", None, "[" * 100_000, '""', "{}", "0"])
def test_an_unreadable_report_is_a_failure(value: JsonValue) -> None:
    class Odd(World):
        async def run_code(self, code: str, function: str, arguments: list[JsonValue], seconds: float) -> CodeResult:
            return CodeResult("ok", value)

    assert Odd([""]).call("Test", test_loop=0)["result"] is False


@pytest.mark.parametrize(
    ("name", "reply", "result"),
    [
        ("Format", "<answer>4</answer>", {"solution": "4"}),
        ("Format", "4", {"solution": "4"}),
        ("Format", "", {"solution": "It is 4."}),
        ("Format", "<answer></answer>", {"solution": "It is 4."}),
        ("Revise", "<solution>4</solution>", {"solution": "4"}),
        ("Revise", "Better: 4", {"solution": "Better: 4"}),
        ("Revise", "", {"solution": "5"}),
        (
            "Review",
            "<review_result>True</review_result><feedback>ok</feedback>",
            {"review_result": True, "feedback": "ok"},
        ),
        (
            "Review",
            "<review_result>false</review_result>",
            {"review_result": False, "feedback": "<review_result>false</review_result>"},
        ),
        ("Review", "It is too large.", {"review_result": False, "feedback": "It is too large."}),
        ("Review", "", {"review_result": False, "feedback": ""}),
    ],
)
def test_format_review_and_revise(name: str, reply: str, result: dict[str, JsonValue]) -> None:
    assert World([reply]).call(name) == result


@pytest.mark.parametrize("name", OPERATORS)
@settings(examples, max_examples=30)
@given(reply=st.lists(PIECES, max_size=20).map("".join) | st.text())
def test_any_reply_has_a_result_of_the_declared_type(name: str, reply: str) -> None:
    class Idle(World):
        async def run_code(self, code: str, function: str, arguments: list[JsonValue], seconds: float) -> CodeResult:
            return CodeResult("ok", reply)

    result = Idle([reply]).call(name)
    assert {key: type(value) for key, value in result.items()} == signatures.SIGNATURES[name].returns


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("Oracle", {}, "there is no operator 'Oracle'"),
        ("Custom", {"input": "x"}, "instruction"),
        ("Custom", {"input": "x", "instruction": "y", "temperature": 2}, "temperature"),
        ("ScEnsemble", {"solutions": [], "problem": "x"}, "solutions"),
        ("ScEnsemble", {"solutions": ["x"] * 27, "problem": "x"}, "solutions"),
        ("ScEnsemble", {"solutions": "abc", "problem": "x"}, "solutions"),
        ("Custom", {"input": "x" * 200_001, "instruction": ""}, "input"),
        ("Test", {"problem": "x", "solution": "y", "entry_point": "f", "test_loop": 99}, "test_loop"),
    ],
)
def test_wrong_arguments_are_the_workflow_s_fault(name: str, arguments: dict[str, JsonValue], reason: str) -> None:
    world = World([""])
    with pytest.raises(OperatorArgumentError, match=reason):
        asyncio.run(call_operator(name, arguments, OperatorContext(world.ask, world.run_code)))
    assert world.prompts == []


def test_other_json_becomes_text_as_in_aflow_s_prompts() -> None:
    world = World(["ok"])
    world.call("Custom", input={"a": [1, None]}, instruction=3)
    world.call("Revise", feedback=None, solution="\ud800")
    assert world.prompts[0] == '3\n{"a": [1, null]}'
    assert "<feedback>\nNone\n</feedback>" in world.prompts[1]
    world.prompts[1].encode()


def test_an_infrastructure_failure_passes_through() -> None:
    class Down(World):
        async def ask(self, prompt: str, fields: tuple[str, ...]) -> str:
            raise InfrastructureError("overloaded")

    for name in [name for name in OPERATORS if name not in ("Vote", "Select")]:  # these ask nobody
        with pytest.raises(InfrastructureError, match="overloaded"):
            Down([""], public_tests=TESTS).call(name)
