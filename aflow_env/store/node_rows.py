# SPDX-License-Identifier: Apache-2.0
"""Turn rows of the store into plain data and back, without I/O."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aflow_env.evaluation.results import COUNTED, Evaluation, Outcome, ProblemResult
from aflow_env.files import Row, Value
from aflow_env.workflow.program import Workflow

JSON = Any


@dataclass(frozen=True, slots=True)
class Node:
    """An evaluated workflow. `round` 1 is the start (no parent). `edit` is the proposer's text, "" for the start."""

    round: int
    parent: int | None
    workflow: Workflow
    evaluation: Evaluation
    modification: str = ""
    edit: str = ""

    @property
    def digest(self) -> str:
        """The workflow's digest, without parsing the workflow again."""
        return self.evaluation.digest

    @property
    def score(self) -> float:
        """The mean score, in [0, 1]."""
        return self.evaluation.score


@dataclass(frozen=True, slots=True)
class Rejection:
    """A round whose action was rejected, for `reason`, and was not run. `edit` is the proposer's text."""

    round: int
    parent: int
    modification: str
    edit: str
    reason: str


RoundEnd = Node | Rejection


@dataclass(frozen=True, slots=True)
class DrawnProposal:
    """The proposal number `ordinal` of an edit of the node of round `node`.

    `drawn` is how many rounds had begun when it was drawn. `workflow` is the program that it makes, and `digest` its
    digest. A proposal that was rejected, for `reason`, has neither.
    """

    node: int
    ordinal: int
    drawn: int
    text: str
    modification: str = ""
    workflow: Workflow | None = None
    digest: str | None = None
    reason: str = ""


RESULT_COLUMNS = (
    *("problem_id", "repeat", "outcome", "score", "answer", "seconds", "cost_usd", "input_tokens", "output_tokens"),
    *("calls", "error", "problem_digest", "truncated", "unpriced", "feedback", "trace"),
)
FIGURES = (
    *("digest", "executor_key", "score", "n", "cost_usd", "input_tokens", "output_tokens", "calls", "truncated"),
    *("unpriced", "usd_a_problem", "cache_hits", "spent_usd"),
)
ROUND_COLUMNS = ("round", "parent", "modification", "edit", "reason")
PROPOSAL_COLUMNS = ("node", "ordinal", "drawn", "text", "modification", "digest", "reason")
EVALUATION_COLUMNS = ("program", *FIGURES, "low", "high", "outcomes", "problem_set", "uncounted")
NODE_COLUMNS = (*ROUND_COLUMNS, *EVALUATION_COLUMNS)


def proposal_of(row: Row) -> DrawnProposal:
    """Return a proposal from the values of PROPOSAL_COLUMNS, `graph` and `prompts`."""
    *values, graph, prompts = row
    workflow = None if graph is None else Workflow(graph, prompts)
    return DrawnProposal(**dict(zip(PROPOSAL_COLUMNS, values, strict=True)), workflow=workflow)


def columns_of(source: object, names: Sequence[str]) -> dict[str, Value]:
    """Return attributes as columns, NULL for one that is not there. Lone surrogates become `?`: SQLite stores none."""
    found = {name: getattr(source, name, None) for name in names}
    return {name: storable(value) if isinstance(value, str) else value for name, value in found.items()}


def program_row(workflow: Workflow, digest: str) -> dict[str, Value]:
    """Return the row of a workflow's text. The id is a hash of both files."""
    graph, prompts = storable(workflow.graph), storable(workflow.prompts)
    return {"id": _content_id(f"{graph}\0{prompts}"), "digest": digest, "graph": graph, "prompts": prompts}


def problem_set_row(results: Sequence[ProblemResult]) -> dict[str, Value]:
    """Return the row of the results of an evaluation, in order."""
    text = json.dumps([[result.problem_digest, result.repeat, result.problem_id] for result in results])
    return {"id": _content_id(text), "problems": text}


def evaluation_columns(evaluation: Evaluation) -> dict[str, Value]:
    """Return an evaluation's figures, and in full the results that are not in the table of evaluations."""
    results = enumerate(evaluation.results)
    uncounted = [[place, *result[:-1]] for place, result in results if result.outcome not in COUNTED]
    return columns_of(evaluation, FIGURES) | {
        "low": evaluation.ci95[0],
        "high": evaluation.ci95[1],
        "outcomes": json.dumps(evaluation.outcomes),
        "uncounted": json.dumps(uncounted) if uncounted else None,
    }


def round_end(record: Mapping[str, JSON], results: Sequence[ProblemResult]) -> RoundEnd:
    """Return the node or rejection of a row of `nodes` joined with `programs`, with the evaluation's results."""
    shared = {name: record[name] for name in ROUND_COLUMNS}
    if record["score"] is None:
        return Rejection(**shared)
    del shared["reason"]
    evaluation = Evaluation(
        **{name: record[name] for name in FIGURES},
        ci95=(record["low"], record["high"]),
        outcomes=json.loads(record["outcomes"]),
        results=tuple(results),
    )
    return Node(workflow=Workflow(record["graph"], record["prompts"]), evaluation=evaluation, **shared)


def result_of(row: Sequence[JSON]) -> ProblemResult:
    """Return a stored result from values in the order of RESULT_COLUMNS."""
    return ProblemResult._make((*row[:2], Outcome(row[2]), *row[3:], True))


def storable(text: str) -> str:
    """Return the text without lone surrogates. An `Outcome` becomes a plain string."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _content_id(text: str) -> str:
    """Return 32 hexadecimal digits of the text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]
