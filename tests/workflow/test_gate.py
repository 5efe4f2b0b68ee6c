# SPDX-License-Identifier: Apache-2.0
"""The gate lets through what models honestly write, and says in a sentence why the rest may not run."""

import pytest

from aflow_env.workflow.gate import MAX_GRAPH, MAX_PROMPTS, Violation, check
from aflow_env.workflow.program import TaskSpec, Workflow
from tests.workflow.examples import CODE, CODE_TASK, MATH_TASK, REALISTIC, graph

RETURN = 'return "", 0.0'


def workflow(body: str, extra: str = "", prompts: str = 'P = "p"\n', operators: str = "Custom") -> Workflow:
    """A workflow for MATH_TASK with this body."""
    lines = "\n".join("        " + line for line in f"{body}\n{RETURN}".split("\n"))
    return Workflow(graph("MATH", lines, operators, extra=extra), prompts)


def reason(program: Workflow, task: TaskSpec = MATH_TASK) -> str:
    with pytest.raises(Violation) as caught:
        check(program, task)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 320
    return text


@pytest.mark.parametrize("name", REALISTIC)
def test_what_models_honestly_write_passes(name: str) -> None:
    check(*REALISTIC[name])


@pytest.mark.parametrize(
    "body",
    [
        "answer = await self.custom(input=problem, instruction=prompt_custom.P.format(problem=problem))",
        'async def vote(input):\n    return await self.custom(input=input, instruction="")\nx = await vote(problem)',
        "x = sorted({'a': 1}.items(), key=lambda pair: -pair[1])[0]",
        "x = [self.custom(input=p, instruction=i) for p, i in zip([problem], [prompt_custom.P])]",
        "x = problem[1:-1] if isinstance(problem, str) and problem else None\nassert x != problem, 'same'",
        "async with self.lock:\n    print(f'{problem!r:>10}')",
        "try:\n    x = int(problem)\nexcept (ValueError, KeyError) as e:\n    raise OSError\nfinally:\n    x = 0",
        "import re\nx = re.findall(r'\\d+', problem)",
        "while (n := len(problem)) > 3 and not False:\n    problem = problem[1:]\n    if n == 7: break",
        "x = type(problem) is str",
        "self._cache = {}\nself._cache[problem] = 1\ndel self._cache[problem]",
    ],
)
def test_ordinary_python_passes(body: str) -> None:
    check(workflow(body), MATH_TASK)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("eval('1')", "eval is not allowed"),
        ("exec('1')", "exec is not allowed"),
        ("open('/etc/passwd')", "open is not allowed"),
        ("compile('1', '', 'eval')", "compile is not allowed"),
        ("__import__('os')", "'__import__' is not allowed"),
        ("getattr(self, 'llm')", "getattr is not allowed"),
        ("setattr(self, 'a', 1)", "setattr is not allowed"),
        ("globals()", "globals is not allowed"),
        ("vars(self)", "vars is not allowed"),
        ("breakpoint()", "breakpoint is not allowed"),
        ("input()", "input() is not allowed"),
        ("exit()", "exit is not allowed"),
        ("raise SystemExit", "SystemExit is not allowed"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt is not allowed"),
        ("e = eval\ne('1')", "eval is not allowed"),
        ("eval = print\neval('1')", "eval is not allowed"),
        ("x = __builtins__", "'__builtins__' is not allowed"),
        ("x = __name__", "'__name__' is not allowed"),
        ("x = ().__class__", "'__class__' is not allowed"),
        ("x = type(self).__mro__[1].__subclasses__()", "is not allowed"),
        ("x = self.custom.__init__.__globals__", "is not allowed"),
        ("x = type(self).mro()", "'mro' is not allowed"),
        ("x = self.llm._ask", "'_ask' is not allowed"),
        ("x = (i for i in [1]).gi_frame", "'gi_frame' is not allowed"),
        ("c = self.custom(input='', instruction='')\nx = c.cr_frame.f_globals", "is not allowed"),
        ("try:\n    1 / 0\nexcept Exception as e:\n    x = e.__traceback__.tb_frame", "is not allowed"),
        ("x = '{0.__class__}'.format(self)", "may not contain '__class__'"),
        ("x = f'{problem.__class__}'", "'__class__' is not allowed"),
        ("await self.llm('hi')", "not self.llm"),
        ("import os", "module 'os' may not be imported"),
        ("import os.path as re", "may not be imported"),
        ("import operator as o\no.attrgetter('x')", "'operator' may not be imported"),
        ("from os import system", "'os.system' is not allowed"),
        ("from . import secrets", "is not allowed"),
        ("from json import *", "'json.*' is not allowed"),
        ("import importlib", "may not be imported"),
        ("import workspace.MATH.workflows.template.operator", "as NAME"),
        ("import random\nrandom._os.system('id')", "is not allowed"),
        ("import json\njson.codecs.open('x')", "'json.codecs' is not allowed"),
        ("import re\nre.enum.sys.modules", "'re.enum' is not allowed"),
        ("import typing\ntyping.get_type_hints(self)", "'typing.get_type_hints' is not allowed"),
        ("import asyncio\nawait asyncio.create_subprocess_exec('id')", "is not allowed"),
        ("import asyncio\nasyncio.get_running_loop()", "is not allowed"),
        ("import asyncio\nx = asyncio.create_task(self.custom(input='', instruction='')).get_loop()", "'get_loop'"),
        ("import json as m\nif problem:\n    import re as m\nm.codecs", "imported as two things"),
        ("import json\nm = json\nm.codecs.open('x')", "can only be used as json.NAME"),
        ("import json\nfor json in [self]: pass", "can only be used as json.NAME"),
        ("x = prompt_custom", "can only be used as prompt_custom.NAME"),
        ("x = prompt_custom.MISSING", "prompt_custom.MISSING is not defined in prompt.py"),
        ("x = operator.Oracle(self.llm)", "operator 'Oracle' is not one of Custom,"),
        ("x = operator.Test(self.llm)", "operator 'Test' is not one of Custom,"),
        ("from scripts.operators import Test", "operator 'Test' is not one of"),
        ("x = undefined_helper(problem)", "the name 'undefined_helper' is not defined"),
        ("x = re.findall('a', problem)", "the name 're' is not defined"),
        ("match problem:\n    case str(__class__=c): pass", "Match"),
        ("yield problem", "Yield"),
        ("global x", "Global"),
        ("class A(metaclass=type): pass", "metaclass"),
        ("class A:\n    def __getattr__(self, n): return n", "'__getattr__' is not allowed"),
        ("x = lambda __a: 1", "'__a' is not allowed"),
        ("x = dict(__a=1)", "'__a' is not allowed"),
        ("x = 'a' 'b' +", "does not parse: line"),
        ("return await\n", "does not parse"),
        ("x = " + "[" * 99 + "]" * 99, "nested deeper"),
        ("x = " + "-" * 5000 + "1", "graph.py does not parse"),
        ("break", "does not compile"),
    ],
)
def test_what_may_not_run_is_refused_with_its_reason(body: str, why: str) -> None:
    assert why in reason(workflow(body))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("class Workflow:", "class Flow:", "needs one class Workflow, not 0"),
        ("class Workflow:", "class Workflow: pass\nclass Workflow:", "needs one class Workflow, not 2"),
        ("async def __call__", "def __call__", "async __call__(self, problem, entry_point)"),
        ("async def __call__", "async def run", "async __call__(self, problem, entry_point)"),
        ("entry_point: str):", "function: str):", "__call__ must accept exactly (self, problem, entry_point)"),
        ("entry_point: str):", "entry_point: str, question_id: str):", "must accept exactly"),
        ("problem: str, entry_point: str):", "problem, /, entry_point):", "must accept exactly"),
        ("def __init__", "def setup", "needs a method __init__"),
        ("llm_config,\n", "config,\n", "__init__ must accept exactly (self, name, llm_config, dataset)"),
        ("\nclass Workflow:", "\nprint('hello')\nclass Workflow:", "outside class Workflow only imports"),
        ("\nclass Workflow:", "\nwhile True: pass\nclass Workflow:", "outside class Workflow only imports"),
    ],
)
def test_the_class_must_fit_its_callers(old: str, new: str, why: str) -> None:
    assert old in CODE.graph
    assert why in reason(Workflow(CODE.graph.replace(old, new), CODE.prompts), CODE_TASK)


@pytest.mark.parametrize(
    "signature",
    [
        "problem, entry_point=None",
        "problem, entry_point, question_id=''",
        "problem, **kwargs",
        "*, problem, entry_point",
    ],
)
def test_other_signatures_that_fit_pass(signature: str) -> None:
    check(Workflow(graph("HumanEval", f"        {RETURN}", "Custom", signature), ""), CODE_TASK)


def test_an_entry_point_is_only_for_tasks_that_give_one() -> None:
    plain = TaskSpec("own", "Own", CODE_TASK.operators)
    tested = Workflow(graph("Own", f"        {RETURN}", "Custom Test"), "")
    assert "operator 'Test' is not one of" in reason(tested, plain)
    one_too_many = Workflow(graph("MATH", f"        {RETURN}", "Custom", "problem, entry_point"), "")
    assert "must accept exactly (self, problem)" in reason(one_too_many)


@pytest.mark.parametrize(
    ("prompts", "why"),
    [
        ("import os", "line 1: only NAME"),
        ("P = 'a'\nQ = f'{P}'", "line 2: only NAME"),
        ("P = open('/etc/passwd').read()", "line 1: only NAME"),
        ("P = 3", "line 1: only NAME"),
        ("P.x = 'a'", "line 1: only NAME"),
        ("def f(): pass", "line 1: only NAME"),
        ('P = """open', "prompt.py does not parse"),
        ("'a'" + "+'a'" * 5000, "prompt.py does not parse"),
        ("# " + "x" * MAX_PROMPTS, "prompt.py is longer"),
    ],
)
def test_prompt_py_holds_only_strings(prompts: str, why: str) -> None:
    assert why in reason(workflow("pass", prompts=prompts))


def test_prompts_may_say_anything() -> None:
    check(workflow("x = prompt_custom.P", prompts='"""about"""\nP = "use __class__, eval and import os"\n'), MATH_TASK)


def test_size_is_capped() -> None:
    assert "graph.py is longer" in reason(workflow("#" * MAX_GRAPH))
