# SPDX-License-Identifier: Apache-2.0
"""What runs inside the jail: it takes one job from the pipe, runs generated code for it, and tells what came of it.

`main` is called by the zygote in a fresh fork, after confinement and before any generated code. It and the generated
code share an interpreter, so nothing here is a wall: the walls are the kernel's (confine.py) and the parent's
(broker.py). The parent believes nothing that this file says, except about the answer of the very code that could have
forged it. Standard library only.
"""

import random
from collections.abc import Callable

from aflow_env.sandbox.jail import exam, runtime
from aflow_env.sandbox.jail.link import Link, failure, load, run
from aflow_env.sandbox.jail.wire import JSON

CODE_OUTPUT_CHARS = 20_000
"""What Programmer's code returns is cut to this many characters: it goes into a prompt."""


def main(fd: int, board: Callable[[int], None]) -> None:
    """Serve the one job that comes first on the pipe `fd`; `board(i)` notes which problem has the processor."""
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
            _report(link, lambda: _call(job["code"], job["function"], job["arguments"]))
        case "solution":
            exam.serve_solution(link, job["code"], job["entry_point"])
        case "judge":
            link.send(exam.judge(link, job["tests"], job["entry"], job["entry_point"]))


def _report(link: Link, work: Callable[[], JSON]) -> None:
    try:
        link.send({"end": 0, "outcome": "ok", "value": work()})
    except BaseException as error:
        link.send(failure(0, error))


def _call(code: str, function: str, arguments: list[JSON]) -> str:
    text = str(run(load(code, "solution")[function], *arguments))
    return text if len(text) <= CODE_OUTPUT_CHARS else text[: CODE_OUTPUT_CHARS - 3] + "..."
