# SPDX-License-Identifier: Apache-2.0
"""From an edit to a program, by the rule (deterministic, normal form only) or by an LLM implementer.

A suggestion is the policy's action when an LLM writes the program: operation, operator and reason of an edit. The LLM
replies with AFlow's three fields, <modification>, <graph> and <prompt>. The gate checks the program later.
"""

import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from aflow_env.workflow.edits import (
    MAX_REASON,
    MEANING,
    Edit,
    InvalidEdit,
    Operation,
    Reason,
    Text,
    apply_edit,
    describe,
    parse_action,
)
from aflow_env.workflow.parsing import fields, strip_fence, strip_thinking
from aflow_env.workflow.program import TaskSpec, Workflow, header
from aflow_env.workflow.signatures import describe_operators
from aflow_env.workflow.steps import to_steps, to_workflow, usable_operators

MAX_REPLY = 100_000  # characters

_PROMPT = """\
You improve a workflow that answers {dataset} problems with calls to a language model.

<graph>
{graph}
</graph>
<prompt>
{prompts}
</prompt>
<operators>
{operators}
</operators>

Make exactly this change: {suggestion}

Rules: keep class Workflow, its constructor and `async def __call__(self, {signature})`, which returns (answer, cost)
with the cost `self.llm.get_usage_summary()["total_cost"]`. Create operators in the constructor, as in
`self.x = operator.X(self.llm)`, await their calls, never return None. Use only the operators listed. Prompts are string
constants of prompt.py, read as prompt_custom.NAME; define every one that the graph uses. No file, network, system or
introspection calls.

Reply with the whole new files and nothing else:
<modification>one sentence: what you changed and why</modification>
<graph>all of graph.py</graph>
<prompt>all of prompt.py</prompt>
"""
_SENTENCES: dict[Operation, str] = {
    "add": "Add a step",
    "remove": "Remove a step",
    "replace": "Replace a step",
    "reorder": "Change the order of the steps",
    "set_prompt": "Rewrite a prompt",
}


class Suggestion(BaseModel):
    """An operation, its operator, and a reason with all other details."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    operation: Operation
    operator: Text | None = None
    reason: Reason = ""

    def sentence(self) -> str:
        """Return the sentence for the implementer, which is also AFlow's `modification`."""
        operator = f" ({self.operator})" if self.operator else ""
        return f"{_SENTENCES[self.operation]}{operator}.{' ' if self.reason else ''}{self.reason}"


def parse_suggestion(text: str, task: TaskSpec) -> Suggestion:
    """Return the suggestion in free or fenced text. Raises InvalidEdit alone.

    Adding and replacing need an operator. A named operator must be one of the task's.
    """
    said = parse_action(text, Suggestion)
    allowed = usable_operators(task)
    if said.operator is None and said.operation in ("add", "replace"):
        raise InvalidEdit(f"{said.operation} needs an operator: use one of {', '.join(allowed)}")
    if said.operator is not None and said.operator not in allowed:
        raise InvalidEdit(f"the operator {said.operator[:40]!a} is not allowed: use one of {', '.join(allowed)}")
    return said


def suggestion_grammar(task: TaskSpec) -> str:
    """Return the instructions for an LLM to write a suggestion."""
    operations = "\n".join(f"- {name}: {meaning}" for name, meaning in MEANING.items())
    return (
        "A suggestion is one JSON object; another model will write the code:\n"
        '{"operation": ..., "operator": ..., "reason": ...}\n'
        f"{operations}\nOperators: {', '.join(usable_operators(task))}.\n"
        f"reason: what to change and why, at most {MAX_REASON} characters."
    )


@dataclass(frozen=True)
class Change:
    """A new program, and the sentence that describes the change (AFlow's "modification")."""

    workflow: Workflow
    modification: str


def implement_rule(workflow: Workflow, edit: Edit, task: TaskSpec) -> Change:
    """Return the program after the edit. Raises NotNormalForm for a workflow that is no list of steps, InvalidEdit."""
    changed = to_workflow(apply_edit(to_steps(workflow), edit, task), task)
    return Change(_program(changed.graph, changed.prompts, task), describe(edit))


def implementer_prompt(workflow: Workflow, suggestion: str, task: TaskSpec) -> str:
    """Return the prompt for an LLM that makes the suggested change and replies with both files."""
    return _PROMPT.format(
        dataset=task.dataset,
        graph=workflow.graph.strip(),
        prompts=workflow.prompts.strip(),
        operators=describe_operators(usable_operators(task)),
        suggestion=suggestion,
        signature="problem, entry_point" if task.entry_point else "problem",
    )


def parse_change(text: str, task: TaskSpec) -> Change:
    """Read the three fields, fenced or not, closed or not. Raises InvalidEdit alone.

    Without <prompt> there are no prompts, without <modification> the sentence is empty. <graph> is required, and gets
    AFlow's import lines if they are missing.
    """
    text = strip_thinking(text)
    if len(text) > MAX_REPLY:
        raise InvalidEdit(f"the reply is longer than {MAX_REPLY} characters")
    found = fields(text, "modification", "graph", "prompt")
    graph = strip_fence(found.get("graph", ""))
    if "class Workflow" not in graph:
        raise InvalidEdit("the reply has no <graph> with a class Workflow")
    program = _program(graph, strip_fence(found.get("prompt", "")), task)
    return Change(program, " ".join(found.get("modification", "").split()))


def _program(graph: str, prompts: str, task: TaskSpec) -> Workflow:
    missing = [line for line in header(task).splitlines() if not _imports(graph, line.split()[-1])]
    head = "".join(f"{line}\n" for line in [*missing, ""]) if missing else ""
    return Workflow(f"{head}{graph.strip()}\n", f"{prompts.strip()}\n")


def _imports(graph: str, name: str) -> bool:
    return re.search(rf"^[ \t]*(?:from|import)\b[^\n]*\b{name}[ \t]*(?:$|[,#;])", graph, re.MULTILINE) is not None
