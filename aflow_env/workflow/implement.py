# SPDX-License-Identifier: Apache-2.0
"""From an edit to a program, by the rule (deterministic, normal form only) or by an LLM implementer.

The LLM replies with AFlow's three fields, <modification>, <graph> and <prompt>. The gate checks the program later.
"""

import re
from dataclasses import dataclass

from aflow_env.workflow.edits import Edit, InvalidEdit, apply_edit
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


@dataclass(frozen=True)
class Modification:
    """An LLM's answer: the sentence that describes the change, and the text of the two files."""

    modification: str
    graph: str
    prompts: str


def implement_rule(workflow: Workflow, edit: Edit, task: TaskSpec) -> Workflow:
    """Return the program after the edit. Raises NotNormalForm for a workflow that is no list of steps, InvalidEdit."""
    return to_workflow(apply_edit(to_steps(workflow), edit, task), task)


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


def parse_modification(text: str) -> Modification:
    """Read the three fields, fenced or not, closed or not. Raises InvalidEdit alone.

    Without <prompt> there are no prompts, without <modification> the sentence is empty. <graph> is required.
    """
    text = strip_thinking(text)
    if len(text) > MAX_REPLY:
        raise InvalidEdit(f"the reply is longer than {MAX_REPLY} characters")
    found = fields(text, "modification", "graph", "prompt")
    graph = strip_fence(found.get("graph", ""))
    if "class Workflow" not in graph:
        raise InvalidEdit("the reply has no <graph> with a class Workflow")
    sentence = " ".join(found.get("modification", "").split())
    return Modification(sentence, graph, strip_fence(found.get("prompt", "")))


def to_program(modification: Modification, task: TaskSpec) -> Workflow:
    """Return the program of a modification, with AFlow's import lines if they are missing."""
    missing = [line for line in header(task).splitlines() if not _imports(modification.graph, line.split()[-1])]
    head = "".join(f"{line}\n" for line in [*missing, ""]) if missing else ""
    return Workflow(f"{head}{modification.graph.strip()}\n", f"{modification.prompts.strip()}\n")


def _imports(graph: str, name: str) -> bool:
    return re.search(rf"^[ \t]*(?:from|import)\b[^\n]*\b{name}[ \t]*(?:$|[,#;])", graph, re.MULTILINE) is not None
