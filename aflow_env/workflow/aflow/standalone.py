# SPDX-License-Identifier: Apache-2.0
"""Export a workflow as one Python module that needs the standard library and a function that answers prompts.

The module has the source of `standalone_runtime.py`, of the functions in `operators.py`, `parsing.py` and `answers.py`
that the workflow's operators need, and of the workflow. So its prompts are those of the search. Code of Programmer,
Test and Select runs in a subprocess without the jail.
"""

import ast
import inspect
import re
from collections.abc import Iterable
from types import ModuleType

from aflow_env.errors import ConfigError
from aflow_env.workflow import answers, operators, parsing
from aflow_env.workflow.aflow import standalone_runtime
from aflow_env.workflow.program import (
    OPERATOR_MODULE,
    PROMPT_MODULE,
    Workflow,
    canonical_module,
    imported_names,
    parse_source,
    prompt_constants,
)
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import triple_quoted

_DOCSTRING = '''\
"""{title}

Found by aflow_env. `ask` is any function from a prompt to a text, sync or async:

    answer = asyncio.run(solve(problem, ask))
    answer = asyncio.run(solve(problem, openai_ask("MODEL", base_url="http://localhost:8000/v1")))

or, with the openai package and OPENAI_API_KEY: python THIS_FILE MODEL [ENTRY_POINT] < problem.txt

Code that the model writes (operators Programmer, Test and Select) runs in a subprocess with an empty environment and a
time limit, but without a jail: pass a `run_code` of your own to confine it.
"""
'''
_END = '''\


async def solve(problem, ask, entry_point=None, run_code=run_in_subprocess, public_tests=(), prelude=""):
    """The workflow's answer to a problem."""
    return await run_workflow(Workflow, problem, ask, entry_point, run_code, public_tests, prelude, {answers!r})


if __name__ == "__main__":
    print(asyncio.run(solve(sys.stdin.read(), openai_ask(sys.argv[1]), *sys.argv[2:3])))
'''
OURS = ("Vote", "Select")
_TEMPLATE_HEAD = """\
import re
from collections import Counter
from decimal import Decimal

from scripts.operators import {names}  # AFlow's
"""
_TEMPLATE_CLASSES = '''\
class Vote(Custom):
    """{vote}"""

    async def __call__(self, solutions, **others):
        return {{"response": most_voted([str(each) for each in solutions], {answers!r})}}


class Select(Test):
    """{select}"""

    async def __call__(self, solutions, entry_point, **others):
        failures = []
        for solution in solutions:
            failures.append(str(self.exec_code(solution, entry_point)))
            if failures[-1] == "no error":
                return {{"result": True, "solution": solution}}
        common = Counter(failures).most_common(1)[0][0]
        return {{"result": False, "solution": solutions[failures.index(common)]}}
'''


def standalone_module(workflow: Workflow, title: str, kind: str = "text") -> str:
    """Return the module's source. Raises ConfigError for a program that defines a name of the operators' code."""
    tree = parse_source(workflow.graph)
    used = [name for name in SIGNATURES if re.search(rf"\b{name}\b", workflow.graph)]
    behaviours = {name: operators.OPERATORS[name].__name__ for name in used}
    library = needed([answers, parsing, operators], [*behaviours.values(), "as_text"])
    own = {n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}
    taken = {name for _, names in library for name in names} | set(vars(standalone_runtime))
    if clash := own & taken:
        raise ConfigError(f"the workflow defines {', '.join(sorted(clash))}, a name that its operators need: rename it")
    made = [f"{name} = make_operator({', '.join([behaviours[name], *_parameters(name)])})" for name in used]
    prompts = [f"{name} = {triple_quoted(text)}" for name, text in prompt_constants(workflow.prompts).items()]
    parts = (
        _DOCSTRING.format(title=title.replace("\\", "").replace('"', "'")) + _runtime(),
        *(source for source, _ in library),
        _namespace("operator", "The operators that the workflow uses.", made),
        _namespace("prompt_custom", "The workflow's prompts.", prompts),
        _without_imports(workflow.graph, tree),
    )
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n" + _END.format(answers=kind)


def template_operators(kind: str) -> str:
    """Return the text of template/operator.py for a task with answers of this kind: AFlow's operators and ours.

    Select runs AFlow's public tests in AFlow's process, by `exec_code` of AFlow's operator Test.
    """
    head = _TEMPLATE_HEAD.format(names=", ".join(name for name in SIGNATURES if name not in OURS))
    library = (source for source, _ in needed([answers, operators], ["most_voted"]))
    said = {name.lower(): SIGNATURES[name].description() for name in OURS}
    return "\n\n\n".join([head.strip("\n"), *library, _TEMPLATE_CLASSES.format(answers=kind, **said)])


def needed(modules: Iterable[ModuleType], names: Iterable[str]) -> list[tuple[str, set[str]]]:
    """Return the source of each top-level function and constant that the names need, with the names that it binds."""
    statements: list[tuple[str, set[str], set[str]]] = []
    for module in modules:
        text = inspect.getsource(module)
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                bound = {node.name}
            elif isinstance(node, ast.Assign):
                bound = {target.id for target in node.targets if isinstance(target, ast.Name)}
            else:
                continue  # the runtime has its own types and registry
            first = node.lineno - 1
            while lines[first - 1].startswith("#"):
                first -= 1
            used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            statements.append(("\n".join(lines[first : node.end_lineno]), bound, used))
    reached: set[str] = set()
    waiting = set(names)
    while waiting:
        reached |= waiting
        waiting = {name for _, bound, used in statements if bound & waiting for name in used} - reached
    return [(source, bound) for source, bound, _ in statements if bound & reached]


def _runtime() -> str:
    """Return the runtime's source below its docstring, without imports of ours."""
    text = inspect.getsource(standalone_runtime)
    lines = text[text.index("from __future__") :].splitlines()
    return "\n".join(line for line in lines if not line.startswith(("from aflow_env", "__all__")))


def _namespace(name: str, docstring: str, statements: list[str]) -> str:
    return "\n".join([f"class {name}:", f'    """{docstring}"""', "", *(f"    {line}" for line in statements)])


def _parameters(name: str) -> list[str]:
    """Return the arguments of an operator for the runtime's `make_operator`."""
    fields = SIGNATURES[name].model_fields
    defaults = {field: info.default for field, info in fields.items() if not info.is_required()}
    if "solutions" in fields:
        defaults |= {"problem": ""} if "problem" in fields else {}  # optional in AFlow's ensembles
    required = [repr(field) for field in fields if field not in defaults]
    return [*required, *(f"{field}={value!r}" for field, value in defaults.items())]


def _without_imports(graph: str, tree: ast.Module) -> str:
    """Return the graph with AFlow's imports replaced by the module's names."""
    lines = re.split(r"\r\n?|\n", graph)  # as Python counts them; str.splitlines also ends lines at a form feed
    aliases = ["DatasetType = str"]
    for name, meaning in imported_names(tree).items():
        for home, known in ((OPERATOR_MODULE, "operator"), (PROMPT_MODULE, "prompt_custom")):
            target = meaning.replace(home, known, 1)
            if meaning.startswith(home) and target != name:
                aliases.append(f"{name} = {target}")
        if meaning.startswith("scripts.async_llm.") and name != "create_llm_instance":
            aliases.append(f"{name} = create_llm_instance")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and _is_aflows(node):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = " " * node.col_offset + "pass" if node.col_offset else ""
    return "\n".join([*aliases, "", "", "\n".join(lines).strip("\n")])


def _is_aflows(node: ast.Import | ast.ImportFrom) -> bool:
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return any(canonical_module(name).startswith((OPERATOR_MODULE, PROMPT_MODULE, "scripts.")) for name in modules)
