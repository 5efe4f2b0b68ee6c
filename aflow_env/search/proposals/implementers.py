# SPDX-License-Identifier: Apache-2.0
"""From a proposed edit to a program: the deterministic rule, or an LLM that writes it."""

from dataclasses import replace

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.llm.client import LLMClient, Message, Request
from aflow_env.search.proposals.expansion import Implement
from aflow_env.workflow.edits import Edit, describe
from aflow_env.workflow.implement import Modification, implement_rule, implementer_prompt, parse_modification
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.suggestion import Suggestion

PROGRAM_FIELDS = ("modification", "graph", "prompt")
"""The fields of an implementer's reply, as tags or, with structured=auto, as JSON."""


def implement(config: AflowConfig, client: LLMClient | None) -> Implement:
    """Return the implementer of the config: the deterministic rule, or an LLM that reads the edit as a sentence."""
    llm = config.implementer.llm
    if config.implementer.kind == "rule" or client is None or llm is None:

        async def by_rule(workflow: Workflow, edit: Edit | Suggestion, spec: TaskSpec) -> Modification:
            if isinstance(edit, Suggestion):
                raise ConfigError("proposer=guided with implementer=rule: a suggestion says too little for a rule")
            changed = implement_rule(workflow, edit, spec)
            return Modification(describe(edit), changed.graph, changed.prompts)

        return by_rule

    async def by_llm(workflow: Workflow, edit: Edit | Suggestion, spec: TaskSpec) -> Modification:
        sentence = edit.sentence() if isinstance(edit, Suggestion) else describe(edit)
        request = Request(
            messages=(Message(role="user", content=implementer_prompt(workflow, sentence, spec)),),
            model=llm.model,
            temperature=llm.temperature,
            max_tokens=llm.max_tokens,
            fields=PROGRAM_FIELDS if llm.structured == "auto" else (),
        )
        change = parse_modification((await client.complete(request)).text)
        return change if change.modification else replace(change, modification=sentence)

    return by_llm
