# SPDX-License-Identifier: Apache-2.0
"""The twelve operators' typed interfaces, AFlow's ten and two of ours, one subclass of `Signature` an operator.

The fields are the arguments (AFlow's names and order). The proposer reads the docstring. `returns` has the keys of the
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


class Signature(BaseModel):
    """The arguments of one operator call; a subclass is an operator.

    `calls` is how often a call asks the model where all goes well: no failed code, no failed test.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    returns: ClassVar[dict[str, type]]
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
        arguments = ", ".join(f"{name}: {_type_and_default(field)}" for name, field in cls.model_fields.items())
        keys = ", ".join(f"'{name}': {kind.__name__}" for name, kind in cls.returns.items())
        return f"{cls.attribute()}({arguments}) -> dict {{{keys}}}"


class Custom(Signature):
    """Sends the instruction followed by the input to the model and returns its text."""

    returns = {"response": str}
    answer = "response"
    input: Text
    instruction: Text


class AnswerGenerate(Signature):
    """Reasons step by step about the input, then gives a short answer."""

    returns = {"thought": str, "answer": str}
    answer = "answer"
    input: Text


class CustomCodeGenerate(Signature):
    """Writes Python code that defines the entry point, following the instruction."""

    returns = {"response": str}
    answer = "response"
    problem: Text
    entry_point: Text
    instruction: Text


class ScEnsemble(Signature):
    """Chooses the solution that agrees most with the others (self-consistency)."""

    returns = {"response": str}
    answer = "response"
    solutions: Solutions
    problem: Text


class Vote(Signature):
    """Returns the first solution with the most frequent answer; asks nobody."""

    returns = {"response": str}
    answer = "response"
    calls = 0
    solutions: Solutions


class Select(Signature):
    """Returns the first solution that passes the public tests, else one of the most common behaviour; asks nobody."""

    returns = {"result": bool, "solution": str}
    answer = "solution"
    calls = 0
    solutions: Solutions
    entry_point: Text


class MdEnsemble(Signature):
    """Chooses the best solution by several votes over shuffled orders."""

    returns = {"solution": str}
    answer = "solution"
    calls = 5  # as in AFlow
    solutions: Solutions
    problem: Text


class Programmer(Signature):
    """Writes and runs a Python program that computes the answer, mending it when it fails."""

    returns = {"code": str, "output": str}
    answer = "output"
    problem: Text
    analysis: Text = "None"


class Test(Signature):
    """Runs the solution against the public tests and repairs it when one fails."""

    returns = {"result": bool, "solution": str}
    answer = "solution"
    problem: Text
    solution: Text
    entry_point: Text
    test_loop: Annotated[int, Field(ge=0, le=5)] = 3


class Format(Signature):
    """Reduces a solution to the bare answer in the form that the problem asks for."""

    returns = {"solution": str}
    answer = "solution"
    problem: Text
    solution: Text


class Review(Signature):
    """Criticises a solution: a verdict and feedback for Revise."""

    returns = {"review_result": bool, "feedback": str}
    answer = None
    problem: Text
    solution: Text


class Revise(Signature):
    """Rewrites a solution with the feedback of a review in mind."""

    returns = {"solution": str}
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


def _type_and_default(field: FieldInfo) -> str:
    kind = field.annotation.__name__ if field.annotation in (str, int) else "list[str]"
    return kind if field.is_required() else f"{kind} = {field.default!r}"
