# SPDX-License-Identifier: Apache-2.0
"""From the state of an expansion to the text that a proposer reads, and who may propose.

A `State` is what the policy knows when it expands a node: the workflow, its score, what was tried from here before and
which problems failed. It is rendered once, the same way for every reader: the edit question and the value question
share the state as their prefix, so a server's prefix cache answers both. Rendering is deterministic. A state that is
too long loses, in this order: the steps of failed cases, failed cases (the last first), experience, the program's end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.llm.client import LLMClient, Message, Request
from aflow_env.store.experience import Entry, render
from aflow_env.workflow.edits import edit_grammar, format_edit, uniform_edit
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.signatures import SIGNATURES, describe_operators
from aflow_env.workflow.steps import NotNormalForm, Step, to_steps, usable_operators
from aflow_env.workflow.suggestion import suggestion_grammar

Messages = tuple[Message, ...]

EDIT_QUESTION = "Proposal with one edit."
SUGGESTION_QUESTION = "Proposal with one suggestion."
CODE_QUESTION = (
    "Change the workflow so that it scores better: one idea, few lines. Proposal with three fields: <modification>what "
    "you change and why</modification> <graph>the whole new class Workflow, as Python</graph> <prompt>the whole new "
    "prompt.py</prompt>."
)


@dataclass(frozen=True)
class FailedCase:
    """A problem that the workflow got wrong, as the proposer sees it: with the scorer's text and a line a step."""

    problem: str
    expected: str
    answer: str
    feedback: str = ""
    trace: str = ""


@dataclass(frozen=True)
class State:
    """Everything that a proposal or a prediction about a node may depend on."""

    workflow: Workflow
    task: TaskSpec
    score: float
    n: int
    experience: tuple[Entry, ...] = ()
    failures: tuple[FailedCase, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...] | None:
        """The normal form of the workflow, or None for a program that has none."""
        try:
            return to_steps(self.workflow)
        except NotNormalForm:
            return None


@dataclass(frozen=True)
class Proposal:
    """A proposer's text; `payload` is what only the proposer understands (the tokens that a trainer needs)."""

    text: str
    payload: object = None


class Proposer(Protocol):
    """Whoever suggests how to change a workflow."""

    async def propose(self, state: State, seed: int) -> Proposal: ...


def render_workflow(state: State) -> str:
    """The program as numbered steps when it has a normal form, else its two source files."""
    steps = state.steps
    if steps is None:
        return f"graph.py:\n{state.workflow.graph}\nprompt.py:\n{state.workflow.prompts}"
    lines = []
    for position, step in enumerate(steps, start=1):
        samples = f" x{step.samples}" if step.samples else ""
        instruction = f": {step.instruction}" if step.instruction else ""
        lines.append(f"{position}. {step.operator}{samples}{instruction}")
    return "\n".join(lines)


def render_head(state: State) -> str:
    """The task, the score and the workflow: the beginning of every question about a state."""
    score = f"{state.score:.2f} on {state.n} problems"
    return f"Task: {state.task.name}\nScore: {score}\nWorkflow:\n{render_workflow(state)}\n"


def render_state(state: State, characters: int) -> str:
    """The state text, at most `characters` long; the same state always gives the same text."""
    head = render_head(state)
    experience = f"Tried from here:\n{render(state.experience)}\n" if state.experience else ""
    failures = [
        "".join(render_failure(failure, traced) for failure in state.failures[:count])
        for count in range(len(state.failures), 0, -1)
        for traced in (True, False)
    ]
    texts = (*(head + experience + each for each in failures), head + experience, head)
    return next((text for text in texts if len(text) <= characters), head[:characters])


def render_failure(failure: FailedCase, traced: bool) -> str:
    """A failed case; the steps that led to it only where they are wanted."""
    feedback = f"feedback: {failure.feedback}\n" if failure.feedback else ""
    steps = f"steps:\n{failure.trace}\n" if traced and failure.trace else ""
    return f"Failed: {failure.problem}\nexpected: {failure.expected}\nanswer: {failure.answer}\n{feedback}{steps}"


def system_text(task: TaskSpec, action: str) -> str:
    """What never changes within a task: the role and the operators; who writes code also reads how they are called."""
    names = usable_operators(task)
    if action == "code":
        rules = describe_operators(names)
    else:
        grammar = suggestion_grammar(task) if action == "suggestion" else edit_grammar(task)
        operators = "\n".join(f"- {name}: {SIGNATURES[name].description()}" for name in names)
        rules = f"{operators}\n{grammar}"
    return f"You improve a workflow of LLM operators, one change at a time.\nOperators:\n{rules}"


def question_messages(state: State, question: str, config: AflowConfig) -> Messages:
    """System text, then the state followed by a question."""
    return (
        Message(role="system", content=system_text(state.task, config.form)),
        Message(role="user", content=f"{render_state(state, config.state_characters)}\n{question}"),
    )


def action_messages(state: State, config: AflowConfig) -> Messages:
    """The prompt of an expansion: for an edit, for code, or (proposer=guided) for a suggestion."""
    questions = {"edit": edit_question, "code": code_question}
    question = questions[config.form](state) if config.form in questions else SUGGESTION_QUESTION
    return question_messages(state, question, config)


def edit_question(state: State) -> str:
    """The `edit` question, with the positions that there are."""
    steps = state.steps
    if steps is None:
        return EDIT_QUESTION
    return f"{EDIT_QUESTION} The last step is {len(steps)}."


def code_question(state: State) -> str:
    """The `code` question; a workflow shown as steps is also shown as source, since source is what it asks for."""
    if state.steps is None:
        return CODE_QUESTION
    return f"graph.py:\n{state.workflow.graph}\nprompt.py:\n{state.workflow.prompts}\n{CODE_QUESTION}"


@dataclass(frozen=True)
class RandomProposer:
    """Edits drawn uniformly from the grammar: the baseline that every learned proposer has to beat."""

    instructions: Sequence[str]

    async def propose(self, state: State, seed: int) -> Proposal:
        """A valid edit of a workflow in normal form. Raises ConfigError for any other program."""
        steps = state.steps
        if steps is None:
            raise ConfigError(
                "proposer=random edits the normal form, and the start workflow has none: "
                "start from problems.start=default, or set proposer=llm"
            )
        return Proposal(format_edit(uniform_edit(steps, state.task, self.instructions, Random(seed))))


@dataclass(frozen=True)
class LLMProposer:
    """Any LLM client as proposer: AFlow's own mode."""

    client: LLMClient
    config: AflowConfig
    model: str
    temperature: float
    max_tokens: int

    async def propose(self, state: State, seed: int) -> Proposal:
        """One completion; `seed` numbers the draw, so that a replay finds it again."""
        request = Request(
            messages=action_messages(state, self.config),
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            sample=seed,
        )
        completion = await self.client.complete(request)
        return Proposal(completion.text)
