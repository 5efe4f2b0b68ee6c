# SPDX-License-Identifier: Apache-2.0
"""The program inside the jail: it takes one job from the pipe, runs generated code for it, and sends the result.

The zygote calls `main` in a fresh fork, after confinement and before any generated code. Generated code shares this
interpreter, so nothing here protects: the kernel (confine.py) and the parent (conversation.py) do. The parent believes
a child about nothing but the answer of the code that could have forged it. Standard library only.
"""

import random
from collections.abc import Callable

from aflow_env.sandbox.jail import exam, runtime
from aflow_env.sandbox.jail.link import Link, failure, load, run
from aflow_env.sandbox.jail.wire import JSON

CODE_OUTPUT_CHARS = 20_000
"""Characters of a result of Programmer's code, which goes into a prompt."""


def main(fd: int, board: Callable[[int], None]) -> None:
    """Serve the job that comes first on the pipe `fd`; `board(i)` notes that problem i has the processor."""
    link = Link(fd)
    try:
        job = link.receive()
    except EOFError:
        return
    link.cap = int(job["cap"])
    random.seed(0)  # a rerun of the same search must draw the same numbers
    match job["kind"]:
        case "workflow":
            runtime.serve(link, job, board)
        case "code":
            try:
                link.send({"end": 0, "outcome": "ok", "value": _call(**job)})
            except BaseException as error:
                link.send(failure(0, error))
        case "solution":
            exam.serve_solution(link, job["code"], job["entry_point"])
        case "judge":
            link.send(exam.judge(link, job["tests"], job["entry"], job["entry_point"]))


def _call(code: str, function: str, arguments: list[JSON], **_: JSON) -> str:
    text = str(run(load(code, "solution")[function], *arguments))
    return text if len(text) <= CODE_OUTPUT_CHARS else text[: CODE_OUTPUT_CHARS - 3] + "..."
