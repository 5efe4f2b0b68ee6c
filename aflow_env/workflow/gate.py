# SPDX-License-Identifier: Apache-2.0
"""The gate: check a program before it may run. A Violation is one sentence for the policy.

Allow-lists name syntax, modules and their names, built-ins and the task's operators. They stop the well-known escapes
from Python. Only the sandbox stops all of them: strings that are built at run time can reach attributes by
`str.format`. Only the sandbox limits time, memory and files.
"""

import ast
import builtins
import collections
import itertools
import math
import random
import re
import warnings
from collections.abc import Callable

from aflow_env.errors import WorkflowError
from aflow_env.workflow.program import (
    OPERATOR_MODULE,
    PROMPT_MODULE,
    SourceError,
    TaskSpec,
    Workflow,
    canonical_module,
    imported_names,
    parse_source,
    prompt_constants,
    string_value,
)
from aflow_env.workflow.steps import usable_operators

Gate = Callable[[Workflow, TaskSpec], None]
"""Raises WorkflowError unless the program may be evaluated."""
MAX_GRAPH = 20_000  # characters
MAX_PROMPTS = 40_000

_TYPING = "Any Awaitable Callable Dict Iterable List Literal Mapping Optional Sequence Set Tuple Union"
_ASYNCIO = "Lock Semaphore TimeoutError as_completed create_task gather sleep timeout wait wait_for"
MODULES: dict[str, frozenset[str]] = {
    "re": frozenset(re.__all__),
    "math": frozenset(name for name in dir(math) if not name.startswith("_")),
    "json": frozenset({"loads", "dumps", "JSONDecodeError"}),
    "random": frozenset(random.__all__),
    "collections": frozenset(collections.__all__),
    "itertools": frozenset(name for name in dir(itertools) if not name.startswith("_")),
    "typing": frozenset(_TYPING.split()),
    "asyncio": frozenset(_ASYNCIO.split()),
    "scripts.async_llm": frozenset({"create_llm_instance", "AsyncLLM"}),
    "scripts.evaluator": frozenset({"DatasetType"}),
}
_SAFE = """
    abs all any ascii bin bool bytes callable chr classmethod complex dict divmod Ellipsis enumerate False filter
    float format frozenset hasattr hash hex id input int isinstance issubclass iter len list map max min next None
    NotImplemented object oct ord pow print property range repr reversed round set slice sorted staticmethod str sum
    super True tuple type zip
"""
BUILTINS = frozenset(_SAFE.split()) | {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
}
_SYNTAX = """
    Module Import ImportFrom FunctionDef AsyncFunctionDef ClassDef Return Delete Assign AugAssign AnnAssign For
    AsyncFor While If With AsyncWith Raise Try Assert Expr Pass Break Continue BoolOp NamedExpr BinOp UnaryOp Lambda
    IfExp Dict Set ListComp SetComp DictComp GeneratorExp Await Compare Call FormattedValue JoinedStr Constant
    Attribute Subscript Starred Name List Tuple Slice ExceptHandler arguments arg keyword alias comprehension
    withitem
"""
SYNTAX = frozenset(_SYNTAX.split())
# Names without underscores that lead from a generator, coroutine, frame or task to the interpreter's insides.
_INSIDES = re.compile(
    r"(gi|cr|ag|f|tb|co)_(frame|code|await|origin|yieldfrom|back|builtins|globals|locals|next|consts|names)"
)
_LOOPS = frozenset({"get_loop", "get_coro", "get_stack", "print_stack", "mro"})
_DUNDER = re.compile(r"__\w+__")


class Violation(WorkflowError):
    """The program may not run. The text is one sentence for the policy."""


def check(workflow: Workflow, task: TaskSpec) -> None:
    """Raise Violation, and nothing else, unless the program may run for this task."""
    for name, text, limit in (("graph.py", workflow.graph, MAX_GRAPH), ("prompt.py", workflow.prompts, MAX_PROMPTS)):
        if len(text) > limit:
            raise Violation(f"{name} is longer than {limit} characters")
    try:
        tree = parse_source(workflow.graph)
    except SourceError as error:
        raise Violation(f"graph.py does not parse: {error}") from error
    prompts = _prompt_names(workflow.prompts)
    _check_statements(tree)
    _check_class(tree, task)
    nodes = list(ast.walk(tree))
    bare = {node.value for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
    for node in nodes:
        if node not in bare:  # a docstring may say anything
            _check_node(node)
    imported = _check_imports(tree, prompts, task)
    _check_names(tree, imported, prompts, task)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, "graph.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Violation(f"graph.py does not compile: {error!s:.200}") from error


def _prompt_names(text: str) -> frozenset[str]:
    """Return the prompts that prompt.py defines. Nothing but string constants may stand in it."""
    try:
        statements = parse_source(text).body
    except SourceError as error:
        raise Violation(f"prompt.py does not parse: {error}") from error
    for statement in statements:
        named = [*statement.targets] if isinstance(statement, ast.Assign) else []
        is_text = isinstance(statement, ast.Expr | ast.Assign) and string_value(statement.value) is not None
        if not is_text or not all(isinstance(target, ast.Name) for target in named):
            raise Violation(f'prompt.py line {statement.lineno}: only NAME = """text""" may stand there')
    return frozenset(prompt_constants(text))


def _check_statements(tree: ast.Module) -> None:
    """Check that only imports, definitions, assignments and bare strings run on import."""
    allowed = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    for statement in tree.body:
        if (
            not isinstance(statement, allowed | ast.Assign | ast.AnnAssign)
            and string_value(getattr(statement, "value", None)) is None
        ):
            raise Violation(f"line {statement.lineno}: outside class Workflow only imports and definitions may stand")


def _check_node(node: ast.AST) -> None:
    """Check the syntax, built-ins and underscores of one node."""
    operators = (ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context)
    line = getattr(node, "lineno", 0)
    if type(node).__name__ not in SYNTAX and not isinstance(node, operators):
        raise Violation(f"line {line}: {type(node).__name__} statements or expressions are not allowed")
    match node:
        case ast.Attribute(value=value, attr=name):
            own = isinstance(value, ast.Name) and value.id == "self"
            hidden = name.startswith("__") or (name.startswith("_") and not own)
            if hidden or name in _LOOPS or _INSIDES.fullmatch(name):
                raise Violation(f"line {line}: the attribute {_shown(name)} is not allowed")
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            if name.startswith("__") and name not in ("__init__", "__call__"):
                raise Violation(f"line {line}: a method {_shown(name)} is not allowed")
        case ast.ClassDef(name=name, keywords=[_, *_]):
            raise Violation(f"line {line}: class {_shown(name)} may not have a metaclass or other keywords")
        case ast.Name(id=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
            _check_identifier(name, line, bound=not isinstance(node, ast.keyword))
        case ast.ExceptHandler(name=str(name)) | ast.ClassDef(name=name):
            _check_identifier(name, line)
        case ast.Call(func=ast.Name(id="input")):
            raise Violation(f"line {line}: input() is not allowed")
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr="llm")):
            raise Violation(f"line {line}: call an operator, not self.llm")
        case ast.Constant(value=str(text)):
            if found := _DUNDER.search(text):
                raise Violation(f"line {line}: a string may not contain {_shown(found[0])}")


def _check_identifier(name: str, line: int, bound: bool = True) -> None:
    if name.startswith("__"):
        raise Violation(f"line {line}: the name {_shown(name)} is not allowed")
    if bound and hasattr(builtins, name) and name not in BUILTINS:
        raise Violation(f"line {line}: {name} is not allowed, not even as a name")


def _check_imports(tree: ast.Module, prompts: frozenset[str], task: TaskSpec) -> dict[str, str]:
    """Allow AFlow's modules and a few pure ones, and of these only listed names. Returns `imported_names`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = canonical_module(alias.name)
                if module not in MODULES and module not in (OPERATOR_MODULE, PROMPT_MODULE):
                    raise Violation(f"line {node.lineno}: the module {_shown(alias.name)} may not be imported")
                if "." in alias.name and not alias.asname:
                    raise Violation(f"line {node.lineno}: write `import {alias.name:.80} as NAME`")
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + canonical_module(node.module or "")
            for alias in node.names:
                _check_member(module, alias.name, node.lineno, prompts, task)
    imported = imported_names(tree)
    for name, meaning in imported.items():
        if "|" in meaning:
            raise Violation(f"the name {_shown(name)} is imported as two things")
    return imported


def _check_member(module: str, name: str, line: int, prompts: frozenset[str], task: TaskSpec) -> None:
    """Check that a module's member is an operator of the task, a prompt that exists, or a listed name."""
    if module == OPERATOR_MODULE:
        allowed = usable_operators(task)
        if name not in allowed:
            raise Violation(f"line {line}: operator {_shown(name)} is not one of {', '.join(allowed)}")
    elif module == PROMPT_MODULE:
        if name not in prompts:
            raise Violation(f"line {line}: prompt_custom.{name:.60} is not defined in prompt.py")
    elif name not in MODULES.get(module, ()):
        raise Violation(f"line {line}: {_shown(f'{module}.{name}')} is not allowed")


def _check_names(tree: ast.Module, imported: dict[str, str], prompts: frozenset[str], task: TaskSpec) -> None:
    """Check that every name is bound in the file or a safe built-in, and that a module stands before a dot."""
    known = {*MODULES, OPERATOR_MODULE, PROMPT_MODULE}
    modules = {name: meaning for name, meaning in imported.items() if meaning in known}
    bound = set(imported)
    owned: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name) as owner, attr=attribute) if name in modules:
                _check_member(modules[name], attribute, node.lineno, prompts, task)
                owned.add(owner)
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound.add(node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node not in owned:
            if node.id in modules:
                raise Violation(f"line {node.lineno}: the module {node.id} can only be used as {node.id}.NAME")
            if node.id not in bound and node.id not in BUILTINS:
                raise Violation(f"line {node.lineno}: the name {_shown(node.id)} is not defined")


def _check_class(tree: ast.Module, task: TaskSpec) -> None:
    """Check the one class Workflow, its constructor and its async __call__."""
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Workflow"]
    if len(found) != 1:
        raise Violation(f"graph.py needs one class Workflow, not {len(found)}")
    methods = {n.name: n for n in found[0].body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    constructor, call = methods.get("__init__"), methods.get("__call__")
    if not isinstance(constructor, ast.FunctionDef):
        raise Violation("class Workflow needs a method __init__(self, name, llm_config, dataset)")
    given = ("problem", "entry_point") if task.entry_point else ("problem",)
    if not isinstance(call, ast.AsyncFunctionDef):
        raise Violation(f"class Workflow needs a method async __call__(self, {', '.join(given)})")
    _check_signature(constructor, ("name", "llm_config", "dataset"))
    _check_signature(call, given)
    if not any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(call)):
        raise Violation("__call__ must return (answer, cost)")


def _check_signature(method: ast.FunctionDef | ast.AsyncFunctionDef, given: tuple[str, ...]) -> None:
    """Check that method(self, **given) can be called."""
    arguments = method.args
    positional = [argument.arg for argument in arguments.args[1:]]
    keywords = dict(zip((argument.arg for argument in arguments.kwonlyargs), arguments.kw_defaults, strict=True))
    required = {
        *positional[: len(positional) - len(arguments.defaults)],
        *(k for k, v in keywords.items() if v is None),
    }
    fits = required <= set(given) and (arguments.kwarg is not None or set(given) <= {*positional, *keywords})
    if arguments.posonlyargs or not arguments.args or not fits:
        raise Violation(f"line {method.lineno}: {method.name} must accept exactly ({', '.join(('self', *given))})")


def _shown(name: str) -> str:
    return ascii(name[:60])
