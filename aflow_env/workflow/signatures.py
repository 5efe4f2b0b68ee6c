# SPDX-License-Identifier: Apache-2.0
"""The twelve operators' typed interfaces, AFlow's ten and two of ours, one subclass of `Signature` an operator.

The fields are the arguments (AFlow's names and order). The proposer reads the docstring. `returns` is the model of the
reply, and later steps read its key `answer`. Text arguments take any JSON value, as AFlow's prompts do: numbers,
booleans and null by `str`, lists and objects as JSON. Unknown and missing arguments are errors.
"""

import inspect
import re
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from aflow_env.workflow.parsing import as_text

MAX_CHARS = 200_000  # of one argument, far more than any prompt has

Text = Annotated[str, BeforeValidator(as_text), Field(max_length=MAX_CHARS)]
Solutions = Annotated[list[Text], Field(min_length=1, max_length=26)]  # a letter each


class OperatorReply(BaseModel):
    """The reply of an operator. The workflow gets it as a dict."""

    model_config = ConfigDict(frozen=True)


class Response(OperatorReply):
    """The model's text."""

    response: str


class Solution(OperatorReply):
    """A whole solution."""

    solution: str


class ThoughtAnswer(OperatorReply):
    """The reasoning, and the answer without it."""

    thought: str
    answer: str


class ProgramReply(OperatorReply):
    """The code of `solve()` and what it returned, as text."""

    code: str
    output: str


class TestReply(OperatorReply):
    """Whether every public test passed, and the solution that was repaired or chosen."""

    result: bool
    solution: str


class Verdict(OperatorReply):
    """Whether the reviewer accepts the solution, and why not."""

    review_result: bool
    feedback: str


class Signature(BaseModel):
    """The arguments of one operator call; a subclass is an operator.

    `calls` is how often a call asks the model where all goes well: no failed code, no failed test.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    returns: ClassVar[type[OperatorReply]]
    answer: ClassVar[str | None]
    calls: ClassVar[int] = 1

    @classmethod
    def attribute(cls) -> str:
        """Return AFlow's attribute name in class Workflow, e.g. "sc_ensemble"."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def description(cls) -> str:
        """Return the docstring as one line."""
        return " ".join(inspect.cleandoc(cls.__doc__ or "").split())

    @classmethod
    def interface(cls) -> str:
        """Return AFlow's interface line: the call with its types, and the keys of the reply."""
        arguments = ", ".join(_argument(name, field) for name, field in cls.model_fields.items())
        keys = ", ".join(f"'{name}': {_type_name(field)}" for name, field in cls.returns.model_fields.items())
        return f"{cls.attribute()}({arguments}) -> dict {{{keys}}}"


class Custom(Signature):
    """Sends the instruction followed by the input to the model and returns its text."""

    returns = Response
    answer = "response"
    input: Text
    instruction: Text


class AnswerGenerate(Signature):
    """Reasons step by step about the input, then gives a short answer."""

    returns = ThoughtAnswer
    answer = "answer"
    input: Text


class CustomCodeGenerate(Signature):
    """Writes Python code that defines the entry point, following the instruction."""

    returns = Response
    answer = "response"
    problem: Text
    entry_point: Text
    instruction: Text


class ScEnsemble(Signature):
    """Chooses the solution that agrees most with the others (self-consistency)."""

    returns = Response
    answer = "response"
    solutions: Solutions
    problem: Text


class Vote(Signature):
    """Returns the first solution with the most frequent answer; asks nobody."""

    returns = Response
    answer = "response"
    calls = 0
    solutions: Solutions


class Select(Signature):
    """Returns the first solution that passes the public tests, else one of the most common behaviour; asks nobody."""

    returns = TestReply
    answer = "solution"
    calls = 0
    solutions: Solutions
    entry_point: Text


class MdEnsemble(Signature):
    """Chooses the best solution by several votes over shuffled orders."""

    returns = Solution
    answer = "solution"
    calls = 5  # as in AFlow
    solutions: Solutions
    problem: Text


class Programmer(Signature):
    """Writes and runs a Python program that computes the answer, mending it when it fails."""

    returns = ProgramReply
    answer = "output"
    problem: Text
    analysis: Text = "None"


class Test(Signature):
    """Runs the solution against the public tests and repairs it when one fails."""

    returns = TestReply
    answer = "solution"
    problem: Text
    solution: Text
    entry_point: Text
    test_loop: Annotated[int, Field(ge=0, le=5)] = 3


class Format(Signature):
    """Reduces a solution to the bare answer in the form that the problem asks for."""

    returns = Solution
    answer = "solution"
    problem: Text
    solution: Text


class Review(Signature):
    """Criticises a solution: a verdict and feedback for Revise."""

    returns = Verdict
    answer = None
    problem: Text
    solution: Text


class Revise(Signature):
    """Rewrites a solution with the feedback of a review in mind."""

    returns = Solution
    answer = "solution"
    problem: Text
    solution: Text
    feedback: Text


SIGNATURES: dict[str, type[Signature]] = {signature.__name__: signature for signature in Signature.__subclasses__()}


def describe_operators(names: tuple[str, ...]) -> str:
    """Return the numbered list that a proposer reads: name, description and call of each operator."""
    lines = (f"{i}. {n}: {SIGNATURES[n].description()} {SIGNATURES[n].interface()}" for i, n in enumerate(names, 1))
    return "\n".join(lines)


def complaint(error: ValidationError) -> tuple[str, str]:
    """Return the place (quoted, in ASCII, at most 60 characters) and the text of the first error."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return ascii(place[:60]), first["msg"]


def _argument(name: str, field: FieldInfo) -> str:
    default = "" if field.is_required() else f" = {field.default!r}"
    return f"{name}: {_type_name(field)}{default}"


def _type_name(field: FieldInfo) -> str:
    return field.annotation.__name__ if field.annotation in (str, int, bool) else "list[str]"
