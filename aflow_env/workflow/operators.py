# SPDX-License-Identifier: Apache-2.0
"""The behaviour of the twelve operators, in the parent process of a workflow in the sandbox.

Each operator makes a few completions (`ask`) and code runs (`run_code`) and returns AFlow's keys. Its docstring defines
the result of a reply without the requested fields, so only arguments can be wrong (OperatorArgumentError). Errors of
`ask` and `run_code` pass through. Thinking is cut from every reply.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, TypeAlias

from pydantic import JsonValue, ValidationError

from aflow_env.errors import WorkflowError
from aflow_env.workflow import signatures as s
from aflow_env.workflow.answers import short_answer
from aflow_env.workflow.parsing import as_text, extract_code, fields, letter_index, strip_thinking

PROGRAM_TRIES = 3
PROGRAM_SECONDS = 10.0
TEST_SECONDS = 15.0
VOTES = 5  # of MdEnsemble, as in AFlow; its signature's `calls`
MAX_REPORT = 2_000  # characters of an error that are fed back


class OperatorArgumentError(WorkflowError):
    """The workflow called an operator with wrong arguments, which the text names."""


@dataclass(frozen=True)
class CodeResult:
    """The end of a code run. It has a `value` when the outcome is "ok", else an `error`."""

    outcome: Literal["ok", "timeout", "crash", "violation"]
    value: JsonValue = None
    error: str = ""


Reply: TypeAlias = dict[str, JsonValue]
# From a prompt, and the fields of the reply for structured output.
Ask = Callable[[str, tuple[str, ...]], Awaitable[str]]
RunCode = Callable[[str, str, list[JsonValue], float], Awaitable[CodeResult]]  # code, function, arguments, seconds


@dataclass(frozen=True)
class OperatorContext:
    """Inputs of operators beside arguments. `prelude` is code before the public tests, `answers` the answer's kind."""

    ask: Ask
    run_code: RunCode
    public_tests: tuple[str, ...] = ()
    entry_point: str | None = None
    answers: str = "text"
    prelude: str = ""


async def call_operator(name: str, arguments: Mapping[str, JsonValue], context: OperatorContext) -> Reply:
    """Run an operator and return its reply. Raises OperatorArgumentError for an unknown name or wrong arguments."""
    if name not in OPERATORS:
        raise OperatorArgumentError(f"there is no operator {name[:40]!a}: use one of {', '.join(OPERATORS)}")
    try:
        call = s.SIGNATURES[name].model_validate(arguments)
    except ValidationError as error:
        place, text = s.complaint(error)
        raise OperatorArgumentError(f"{name}({place}): {text}") from None
    return await OPERATORS[name](call, context)


async def _custom(call: s.Custom, context: OperatorContext) -> Reply:
    """The whole reply; empty when it is empty."""
    gap = "\n" if call.instruction and not call.instruction[-1].isspace() else ""
    return {"response": await _ask(context, f"{call.instruction}{gap}{call.input}")}


async def _answer_generate(call: s.AnswerGenerate, context: OperatorContext) -> Reply:
    """Without <answer> the whole reply is the answer; without <thought> the thought is empty."""
    task = "Think step by step in <thought>...</thought>, then give only the final answer in <answer>...</answer>."
    reply = await _ask(context, task, "thought", "answer", problem=call.input)
    found = fields(reply, "thought", "answer")
    return {"thought": found.get("thought", ""), "answer": found.get("answer", reply)}


async def _custom_code_generate(call: s.CustomCodeGenerate, context: OperatorContext) -> Reply:
    """The code of the reply, see `extract_code`; empty when the reply is empty."""
    task = (
        f"{call.instruction}\nWrite Python code that defines `{call.entry_point}`. Put all of it in <code>...</code>."
    )
    reply = await _ask(context, task.strip(), problem=call.problem)
    return {"response": extract_code(reply, call.entry_point)}


async def _sc_ensemble(call: s.ScEnsemble, context: OperatorContext) -> Reply:
    """No call when the solutions agree; without one readable letter the most frequent solution (first on ties)."""
    if len(set(map(_plain, call.solutions))) == 1:
        return {"response": call.solutions[0]}
    task = "Find the answer that most of them agree on and choose a solution that states it."
    chosen = await _chosen(context, task, call.problem, call.solutions)
    return {"response": _most_frequent(call.solutions) if chosen is None else call.solutions[chosen]}


async def _vote(call: s.Vote, context: OperatorContext) -> Reply:
    """No call. The first of equally frequent answers; without any answer the most frequent solution."""
    return {"response": most_voted(call.solutions, context.answers)}


async def _select(call: s.Select, context: OperatorContext) -> Reply:
    """No call. Two solutions behave the same when the reports of their failures are the same."""
    entry_point = context.entry_point or call.entry_point
    codes = [extract_code(solution, entry_point) for solution in call.solutions]
    failures: list[str] = []
    for code in codes:
        failures.append(await _failure(code, entry_point, context))
        if not failures[-1]:
            return {"result": True, "solution": code}
    return {"result": False, "solution": codes[failures.index(Counter(failures).most_common(1)[0][0])]}


async def _md_ensemble(call: s.MdEnsemble, context: OperatorContext) -> Reply:
    """Unreadable votes do not count; without any, the most frequent solution. The arguments determine the shuffles."""
    if len(set(map(_plain, call.solutions))) == 1:
        return {"solution": call.solutions[0]}
    task = "Judge each for correctness and completeness and choose the best."
    votes: Counter[int] = Counter()
    for vote in range(VOTES):
        order = list(range(len(call.solutions)))
        Random(f"{vote} {call.solutions}").shuffle(order)
        chosen = await _chosen(context, task, call.problem, [call.solutions[index] for index in order])
        if chosen is not None:
            votes[order[chosen]] += 1
    best = min(votes, key=lambda index: (-votes[index], index), default=None)
    return {"solution": _most_frequent(call.solutions) if best is None else call.solutions[best]}


async def _programmer(call: s.Programmer, context: OperatorContext) -> Reply:
    """After PROGRAM_TRIES failures the last code, and an output that begins with "Error:"."""
    task = (
        "Write a Python function solve() without arguments that computes the answer and returns it. "
        "Use the standard library only; do not read input. Put all of the code in <code>...</code>."
    )
    given = {"problem": call.problem, "analysis": call.analysis}
    code = output = ""
    for _ in range(PROGRAM_TRIES):
        code = extract_code(await _ask(context, task, **given), "solve")
        if code:
            result = await context.run_code(code, "solve", [], PROGRAM_SECONDS)
            if result.outcome == "ok" and result.value not in (None, "None"):
                return {"code": code, "output": as_text(result.value)}
            why = "solve() returned None" if result.outcome == "ok" else f"{result.outcome}: {result.error}"
        else:
            why = "there was no code in the reply"
        output = f"Error: {why}"[:MAX_REPORT]
        given |= {"failed_code": code, "error": output}
    return {"code": code, "output": output}


async def _test(call: s.Test, context: OperatorContext) -> Reply:
    """Without public tests: whether the code runs and defines the entry point. An empty repair changes nothing."""
    task = (
        "The solution fails its tests. Explain the error briefly, then write the corrected solution, complete, "
        "in <code>...</code>."
    )
    entry_point = context.entry_point or call.entry_point
    solution = extract_code(call.solution, entry_point)
    for _ in range(call.test_loop):
        failure = await _failure(solution, entry_point, context)
        if not failure:
            return {"result": True, "solution": solution}
        reply = await _ask(context, task, problem=call.problem, solution=solution, test_result=failure)
        solution = extract_code(reply, entry_point) or solution
    return {"result": not await _failure(solution, entry_point, context), "solution": solution}


async def _format(call: s.Format, context: OperatorContext) -> Reply:
    """Without <answer> the whole reply; an empty one leaves the solution as it was."""
    task = "Give only the final answer of the solution, in the form that the problem asks for, in <answer>...</answer>."
    found = await _field(context, "answer", task, problem=call.problem, solution=call.solution)
    return {"solution": found or call.solution}


async def _review(call: s.Review, context: OperatorContext) -> Reply:
    """Without a readable verdict it is False; without <feedback> the feedback is the whole reply."""
    task = (
        "Review the solution critically. Write <review_result>True</review_result> if it is right, else "
        "<review_result>False</review_result>, and what to improve in <feedback>...</feedback>."
    )
    given = {"problem": call.problem, "solution": call.solution}
    reply = await _ask(context, task, "review_result", "feedback", **given)
    found = fields(reply, "review_result", "feedback")
    accepted = found.get("review_result", "").strip(" .*`'\"").lower() in ("true", "yes", "correct")
    return {"review_result": accepted, "feedback": found.get("feedback", reply)}


async def _revise(call: s.Revise, context: OperatorContext) -> Reply:
    """Without <solution> the whole reply; an empty one leaves the solution as it was."""
    task = "Rewrite the solution according to the feedback. Put the whole new solution in <solution>...</solution>."
    given = {"problem": call.problem, "solution": call.solution, "feedback": call.feedback}
    return {"solution": await _field(context, "solution", task, **given) or call.solution}


OPERATORS: dict[str, Callable[[Any, OperatorContext], Awaitable[Reply]]] = {
    "Custom": _custom,
    "AnswerGenerate": _answer_generate,
    "CustomCodeGenerate": _custom_code_generate,
    "ScEnsemble": _sc_ensemble,
    "Vote": _vote,
    "Select": _select,
    "MdEnsemble": _md_ensemble,
    "Programmer": _programmer,
    "Test": _test,
    "Format": _format,
    "Review": _review,
    "Revise": _revise,
}

# Runs the solution below the problem's prelude. Each public test has its own copy of their names, and its `check` is
# called if it defines one. The report ends after three failures. It tells the value that a failed comparison saw.
_HARNESS = """
def value_seen(test, scope):
    import ast, re
    for node in ast.walk(ast.parse(test)):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
            left = ast.unparse(node.test.left)
            try:
                if not eval(ast.unparse(node.test), scope):
                    return left + " is " + re.sub(" at 0x[0-9a-f]+", "", repr(eval(left, scope)))
            except Exception:
                return ""
    return ""


def run_public_tests(prelude, solution, tests, entry_point):
    import json
    names = {"__name__": "solution"}
    exec(prelude, names)
    exec(compile(solution, "solution.py", "exec"), names)
    if entry_point not in names:
        return json.dumps(["the code does not define " + entry_point])
    failures = []
    for test in tests:
        if len(failures) == 3:
            break
        scope = dict(names, candidate=names[entry_point])
        check = scope.pop("check", None)
        try:
            exec(test, scope)
            if "check" in scope:
                scope["check"](scope["candidate"])
        except (Exception, SystemExit) as error:
            said = str(error) or value_seen(test, scope)
            failures.append(test[:600] + "\\n" + type(error).__name__ + ": " + said[:200])
    return json.dumps(failures)
"""


async def _failure(solution: str, entry_point: str, context: OperatorContext) -> str:
    """Return the failures of the public tests, cut to MAX_REPORT characters; empty when all pass."""
    arguments: list[JsonValue] = [context.prelude, solution, list(context.public_tests), entry_point]
    result = await context.run_code(_HARNESS, "run_public_tests", arguments, TEST_SECONDS)
    if result.outcome != "ok":
        return f"{result.outcome}: {result.error}"[:MAX_REPORT]
    try:
        failures = json.loads(str(result.value))
    except (ValueError, RecursionError):
        failures = None
    if not isinstance(failures, list):
        return "the solution disturbs its own tests"
    return "\n\n".join(map(str, failures))[:MAX_REPORT]


async def _ask(context: OperatorContext, task: str, *wanted: str, **given: str) -> str:
    """Ask with the given texts, each in its own tag, then the task. Return the reply without its thinking."""
    prompt = "\n".join([*(f"<{name}>\n{text}\n</{name}>" for name, text in given.items()), task])
    return strip_thinking(await context.ask(prompt, wanted))


async def _field(context: OperatorContext, name: str, task: str, **given: str) -> str:
    """Ask for one field. Without it, the whole reply."""
    reply = await _ask(context, task, name, **given)
    return fields(reply, name).get(name, reply)


async def _chosen(context: OperatorContext, task: str, problem: str, solutions: list[str]) -> int | None:
    """Ask for one of the solutions. None without one readable letter."""
    lettered = "\n\n".join(f"{chr(ord('A') + index)}:\n{solution}" for index, solution in enumerate(solutions))
    task = f"Several solutions are given. {task} Reply with its letter alone in <solution_letter>...</solution_letter>."
    reply = await _ask(context, task, "solution_letter", problem=problem, solutions=lettered)
    return letter_index(reply, len(solutions))


def _plain(solution: str) -> str:
    return " ".join(solution.lower().split())


def most_voted(solutions: list[str], kind: str) -> str:
    """Return the first solution with the most frequent answer of this kind; solutions without one have no vote."""
    answers = [short_answer(solution, kind) for solution in solutions]
    counts = Counter(filter(None, answers)).most_common(1)
    return solutions[answers.index(counts[0][0])] if counts else _most_frequent(solutions)


def _most_frequent(solutions: list[str]) -> str:
    counts = Counter(map(_plain, solutions))
    return max(solutions, key=lambda solution: counts[_plain(solution)])
