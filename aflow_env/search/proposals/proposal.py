# SPDX-License-Identifier: Apache-2.0
"""The state of an expansion, its text for a proposer, and the proposers.

A `State` has the workflow, its score, earlier edits of it and failed problems. The edit question and the value question
begin with the same text, so a server's prefix cache serves both. Rendering is deterministic. A state that is too long
loses, in this order: the steps of failed cases, failed cases (the last first), experience, the program's end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.evaluation.results import Outcome
from aflow_env.llm.client import LLMClient, Message, Request
from aflow_env.search.tree import Tree
from aflow_env.soon import soon
from aflow_env.store.experience import Entry, render
from aflow_env.store.node_rows import Node
from aflow_env.store.shared import RunStore
from aflow_env.store.store import SessionKey
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.edits import edit_grammar, format_edit, uniform_edit
from aflow_env.workflow.implement import suggestion_grammar
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.signatures import SIGNATURES, describe_operators
from aflow_env.workflow.steps import NotNormalForm, Step, to_steps, usable_operators

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
    """A problem that the workflow got wrong, with the scorer's text and a line for each operator call."""

    problem: str
    expected: str
    answer: str
    feedback: str = ""
    trace: str = ""


@dataclass(frozen=True)
class State:
    """All facts about a node that a proposal or a prediction may depend on."""

    workflow: Workflow
    task: TaskSpec
    score: float
    n: int
    experience: tuple[Entry, ...] = ()
    failures: tuple[FailedCase, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...] | None:
        """The normal form of the workflow, if it has one."""
        try:
            return to_steps(self.workflow)
        except NotNormalForm:
            return None


@dataclass(frozen=True)
class States:
    """Builds the states of one session."""

    config: AflowConfig
    spec: TaskSpec
    problems: Sequence[Problem]
    store: RunStore
    key: SessionKey

    async def of(self, tree: Tree, node: Node, unseen: int | None = None) -> State:
        """Return the state of a node. Rounds of this session from `unseen` on are in flight and must not be seen."""
        entries = self.config.experience_entries
        experience = await soon(self.store.experience(self.spec.name, node.digest, self.key, entries, unseen))
        failures = self._failures(node, tree.visits(node.round))
        return State(node.workflow, self.spec, node.score, node.evaluation.n, tuple(experience), failures)

    def _failures(self, node: Node, visits: int) -> tuple[FailedCase, ...]:
        """Draw some wrong problems by workflow and visits, so each expansion sees others."""
        found = {each.problem_id: each for each in node.evaluation.results if each.outcome == Outcome.WRONG}
        if not self.config.failed_cases or not found or self.config.executor.kind == "table":
            return ()  # a table has ids in place of problems, and no answers
        rng, count = np.random.default_rng([int(node.digest, 16), visits]), min(self.config.failed_cases, len(found))
        wrong = list(found)
        chosen = {wrong[place] for place in rng.choice(len(wrong), count, replace=False)}
        failed = [(problem, found[problem.id]) for problem in self.problems if problem.id in chosen]
        return tuple(FailedCase(problem.prompt, problem.answer, r.answer, r.feedback, r.trace) for problem, r in failed)


@dataclass(frozen=True)
class Proposal:
    """A proposer's text. `payload` has the tokens that a trainer needs."""

    text: str
    payload: object = None


class Proposer(Protocol):
    """Proposes a change of a workflow."""

    async def propose(self, state: State, seed: int) -> Proposal: ...


def render_workflow(state: State) -> str:
    """Return the program as numbered steps if it has a normal form, else its two source files."""
    steps = state.steps
    if steps is None:
        return render_source(state.workflow)
    lines = []
    for position, step in enumerate(steps, start=1):
        samples = f" x{step.samples}" if step.samples else ""
        instruction = f": {step.instruction}" if step.instruction else ""
        lines.append(f"{position}. {step.operator}{samples}{instruction}")
    return "\n".join(lines)


def render_source(workflow: Workflow) -> str:
    """Return the two source files."""
    return f"graph.py:\n{workflow.graph}\nprompt.py:\n{workflow.prompts}"


def render_head(state: State) -> str:
    """Return the task, the score and the workflow, with which every question about a state begins."""
    score = f"{state.score:.2f} on {state.n} problems"
    return f"Task: {state.task.name}\nScore: {score}\nWorkflow:\n{render_workflow(state)}\n"


def render_state(state: State, characters: int) -> str:
    """Return the text of a state, at most `characters` long."""
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
    """Return the text of a failed case, with its operator calls if `traced`."""
    feedback = f"feedback: {failure.feedback}\n" if failure.feedback else ""
    steps = f"steps:\n{failure.trace}\n" if traced and failure.trace else ""
    return f"Failed: {failure.problem}\nexpected: {failure.expected}\nanswer: {failure.answer}\n{feedback}{steps}"


def system_text(task: TaskSpec, action: str) -> str:
    """Return the text that is constant within a task: the role, the operators and the form of the action."""
    names = usable_operators(task)
    if action == "code":
        rules = describe_operators(names)
    else:
        grammar = suggestion_grammar(task) if action == "suggestion" else edit_grammar(task)
        operators = "\n".join(f"- {name}: {SIGNATURES[name].description()}" for name in names)
        rules = f"{operators}\n{grammar}"
    return f"You improve a workflow of LLM operators, one change at a time.\nOperators:\n{rules}"


def action_messages(state: State, config: AflowConfig) -> Messages:
    """Return the prompt of an expansion: for an edit, for code, or (proposer=guided) for a suggestion."""
    steps = state.steps
    if config.form == "edit":
        question = EDIT_QUESTION if steps is None else f"{EDIT_QUESTION} The last step is {len(steps)}."
    elif config.form == "code":  # the answer is source, so the source is shown beside the steps
        question = CODE_QUESTION if steps is None else f"{render_source(state.workflow)}\n{CODE_QUESTION}"
    else:
        question = SUGGESTION_QUESTION
    return (
        Message(role="system", content=system_text(state.task, config.form)),
        Message(role="user", content=f"{render_state(state, config.state_characters)}\n{question}"),
    )


@dataclass(frozen=True)
class RandomProposer:
    """Draws edits uniformly from the grammar, as a baseline."""

    instructions: Sequence[str]

    async def propose(self, state: State, seed: int) -> Proposal:
        """Return a valid edit of a workflow in normal form. Raises ConfigError for any other program."""
        steps = state.steps
        if steps is None:
            raise ConfigError(
                "proposer=random edits the normal form, and the start workflow has none: "
                "start from problems.start=default, or set proposer=llm"
            )
        return Proposal(format_edit(uniform_edit(steps, state.task, self.instructions, Random(seed))))


@dataclass(frozen=True)
class LLMProposer:
    """Asks an LLM for proposals, as AFlow does."""

    client: LLMClient
    config: AflowConfig
    model: str
    temperature: float
    max_tokens: int

    async def propose(self, state: State, seed: int) -> Proposal:
        """Return one completion. `seed` numbers the draw, so that a replay finds it again."""
        request = Request(
            messages=action_messages(state, self.config),
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            sample=seed,
        )
        return Proposal((await self.client.complete(request)).text)
