# SPDX-License-Identifier: Apache-2.0
"""A workflow as a program: AFlow's graph.py and prompt.py, immutable, with a digest.

The digest is a hash of the normalised syntax tree of class Workflow and of the module's helpers that it uses. The tree
has no comments, docstrings, annotations or import lines. Imported names are replaced by their meaning, without the data
set and the round of AFlow's import paths, and `prompt_custom.X` by its text, without outer white space and trailing
blanks. Programs with equal digests are equal. Programs with different digests may still compute the same.
"""

import ast
import hashlib
import re
import warnings
from dataclasses import dataclass
from functools import cached_property

from aflow_env.errors import WorkflowError
from aflow_env.workflow.answers import KINDS

MAX_DEPTH = 100  # of the syntax tree, above the 40 of people's code and far below the stack's end
# Names of AFlow's two modules without data set and round, which no import can write.
OPERATOR_MODULE = "<operator>"
PROMPT_MODULE = "<prompt>"
_NAMELESS = ""  # the name that a statement without one, such as `Workflow.x = 1`, binds
_OPERATOR_PATH = re.compile(r"workspace(\.\w+)+\.template\.operator|scripts\.operators")
_PROMPT_PATH = re.compile(r"workspace(\.\w+)+\.round_\w+\.prompt")
_CODING = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)
"""A comment that names the file's encoding, in its first or second line (PEP 263)."""
_HEADER = """\
import workspace.{dataset}.workflows.template.operator as operator
import workspace.{dataset}.workflows.round_1.prompt as prompt_custom
from scripts.async_llm import create_llm_instance
from scripts.evaluator import DatasetType
"""


class SourceError(WorkflowError):
    """The text is no readable Python module: a syntax error, a NUL, or nesting beyond MAX_DEPTH."""


@dataclass(frozen=True)
class TaskSpec:
    """The frame of a task's workflows: their operators, and whether they get an entry point (code tasks).

    `dataset` is AFlow's folder name, e.g. "GSM8K", and an identifier, as import paths have it. `start` is the
    instruction of the start workflow. `answers` is the kind of answer that Vote counts, one of `answers.KINDS`.
    """

    name: str
    dataset: str
    operators: tuple[str, ...]
    entry_point: bool = False
    start: str = ""
    answers: str = "text"

    def __post_init__(self) -> None:
        if not self.dataset.isidentifier():
            raise ValueError(f"dataset {self.dataset!r} of task {self.name!r} is not a Python identifier")
        if self.answers not in KINDS:
            raise ValueError(f"answers {self.answers!r} of task {self.name!r} is none of {', '.join(KINDS)}")


@dataclass(frozen=True)
class Workflow:
    """The text of graph.py and of prompt.py."""

    graph: str
    prompts: str

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits, of the normalised program or of texts that do not parse."""
        try:
            program = _normal_form(self)
        except SourceError:
            program = f"unreadable:{self.graph}\0{self.prompts}"
        return hashlib.sha256(program.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def header(task: TaskSpec) -> str:
    """Return AFlow's import lines for a workflow of this task."""
    return _HEADER.format(dataset=task.dataset)


def parse_source(text: str) -> ast.Module:
    """Return the module's tree, at most MAX_DEPTH deep. Raises SourceError alone.

    A text that names another encoding than UTF-8 is refused, because Python would read its file as another tree.
    """
    for line in re.split(r"\r\n?|\n", text, maxsplit=2)[:2]:
        cookie = _CODING.match(line)
        if cookie and cookie[1].lower().replace("_", "-") not in ("utf-8", "utf8"):
            raise SourceError(f"the encoding {cookie[1][:60]!a} is not allowed: write UTF-8 and leave the comment out")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # e.g. for invalid escapes in strings
            tree = ast.parse(text)
    except SyntaxError as error:
        raise SourceError(f"line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"unreadable source ({type(error).__name__})") from error
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise SourceError(f"the code is nested deeper than {MAX_DEPTH} levels")


def string_value(node: ast.AST | None) -> str | None:
    """Return the text of a string constant, or of constants joined by `+`; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = string_value(node.left), string_value(node.right)
        return None if left is None or right is None else left + right
    return None


def prompt_constants(prompts: str) -> dict[str, str]:
    """Return the string constants of prompt.py, by the last assignment of each name. Raises SourceError."""
    constants = {}
    for statement in parse_source(prompts).body:
        if isinstance(statement, ast.Assign) and (text := string_value(statement.value)) is not None:
            constants.update({target.id: text for target in statement.targets if isinstance(target, ast.Name)})
    return constants


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Return the meaning of each imported name: "<operator>", "<prompt>", "collections.Counter"...

    Several meanings of a name, e.g. in several functions, are joined by "|".
    """
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        found: dict[str, str] = {}
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                found[alias.asname or top] = canonical_module(alias.name) if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + canonical_module(node.module or "")
            found = {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
        for name, meaning in found.items():
            names[name] = meaning if names.get(name, meaning) == meaning else f"{names[name]}|{meaning}"
    return names


def canonical_module(path: str) -> str:
    """Return the module's path, or OPERATOR_MODULE or PROMPT_MODULE for AFlow's own."""
    if _OPERATOR_PATH.fullmatch(path):
        return OPERATOR_MODULE
    return PROMPT_MODULE if _PROMPT_PATH.fullmatch(path) else path


def _normal_form(workflow: Workflow) -> str:
    tree = parse_source(workflow.graph)
    normalise = _Normaliser(imported_names(tree), prompt_constants(workflow.prompts))
    body = [(statement, _bound_names(statement)) for statement in normalise.visit(tree).body]
    # Helpers and constants of the module count if class Workflow uses them. Statements that bind no name always count.
    reached: set[str] = set()
    waiting = {_NAMELESS, "Workflow"}
    if not any("Workflow" in names for _, names in body):
        waiting.update(name for _, names in body for name in names)
    while waiting:
        reached |= waiting
        used = (ast.walk(statement) for statement, names in body if waiting & names)
        waiting = {node.id for nodes in used for node in nodes if isinstance(node, ast.Name)} - reached
    return "\n".join(_dump(statement) for statement, names in body if reached & names)


def _bound_names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    bound = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return bound or {_NAMELESS}


class _Normaliser(ast.NodeTransformer):
    """Drop imports, bare strings and annotations, and resolve imported names and prompts."""

    def __init__(self, imported: dict[str, str], prompts: dict[str, str]) -> None:
        self.imported = imported
        self.prompts = {f"{PROMPT_MODULE}.{name}": _clean(text) for name, text in prompts.items()}

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        return None

    visit_ImportFrom = visit_Import

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign(targets=[node.target], value=node.value))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(arg=node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Name(self, node: ast.Name) -> ast.AST:
        meaning = self.imported.get(node.id, node.id)
        return ast.Constant(self.prompts[meaning]) if meaning in self.prompts else ast.Name(meaning, node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        path = f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else ""
        return ast.Constant(self.prompts[path]) if path in self.prompts else node


def _clean(prompt: str) -> str:
    return "\n".join(line.rstrip() for line in prompt.strip().split("\n"))


def _dump(value: object) -> str:
    """Return a tree as text without empty fields, contexts and positions, the same on every Python version."""
    if isinstance(value, ast.Constant):
        return ascii(value.value)
    if isinstance(value, ast.AST):
        fields = ((name, item) for name, item in ast.iter_fields(value) if name not in ("ctx", "type_comment"))
        return f"{type(value).__name__}({','.join(f'{n}={_dump(v)}' for n, v in fields if v is not None and v != [])})"
    if isinstance(value, list):
        return f"[{','.join(map(_dump, value))}]"
    return ascii(value)
