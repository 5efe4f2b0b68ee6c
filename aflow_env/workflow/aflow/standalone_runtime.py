# SPDX-License-Identifier: Apache-2.0
"""The frame of a workflow that is exported as one module. `standalone.py` copies this file's source.

It imports the standard library and one function that is copied too. Code of a model runs in a subprocess with an empty
environment and a time limit, without a jail.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from types import SimpleNamespace
from typing import Any

from aflow_env.workflow.parsing import as_text

__all__ = ["Counter", "Decimal", "Random", "json", "re"]  # what the copied operators use

_CALL = """
import json, sys
job, out = json.load(sys.stdin), sys.stdout
sys.stdout = sys.stderr
names = {"__name__": "solution"}
exec(compile(job[0], "solution", "exec"), names)
print(names[job[1]](*job[2]), file=out)
"""


async def run_in_subprocess(code: str, function: str, arguments: list[Any], seconds: float) -> Any:
    """Call function(*arguments) of the code in another Python; no jail."""
    with tempfile.TemporaryDirectory() as folder:
        pipe = subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", _CALL, cwd=folder, env={}, stdin=pipe, stdout=pipe, stderr=pipe
        )
        job = json.dumps([code, function, arguments]).encode()
        try:
            out, err = await asyncio.wait_for(process.communicate(job), seconds)
        except TimeoutError:
            process.kill()
            await process.wait()
            return SimpleNamespace(outcome="timeout", value=None, error=f"no result within {seconds:g} s")
    if process.returncode:
        last = (err.decode("utf-8", "replace").strip() or "no message").splitlines()[-1]
        return SimpleNamespace(outcome="crash", value=None, error=last[:500])
    return SimpleNamespace(outcome="ok", value=out.decode("utf-8", "replace").removesuffix("\n"), error="")


class Asker:
    """All that the operators may use. A workflow knows it as `self.llm`."""

    def __init__(self, ask: Callable[[str], Any], **known: Any) -> None:
        self._ask = ask
        vars(self).update(known)

    async def ask(self, prompt: str, fields: object = ()) -> str:
        if inspect.iscoroutinefunction(self._ask):
            return str(await self._ask(prompt))
        reply = await asyncio.to_thread(self._ask, prompt)
        return str(await reply if inspect.isawaitable(reply) else reply)

    def get_usage_summary(self) -> dict[str, float]:
        return {"total_cost": 0.0}


def create_llm_instance(config: Asker) -> Asker:
    return config


def make_operator(behaviour: Callable[..., Awaitable[Any]], *required: str, **defaults: Any) -> type:
    """Return AFlow's operator class of a behaviour and its arguments."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in required]
    parameters += [inspect.Parameter(name, kind, default=value) for name, value in defaults.items()]
    signature = inspect.Signature(parameters)

    class Bound:
        def __init__(self, llm: Asker) -> None:
            self.llm = llm

        async def __call__(self, *arguments: Any, **named: Any) -> Any:
            call = signature.bind(*arguments, **named)
            call.apply_defaults()
            return await behaviour(SimpleNamespace(**{n: _argument(n, v) for n, v in call.arguments.items()}), self.llm)

    return Bound


def _argument(name: str, value: Any) -> Any:
    if name == "solutions":
        return [as_text(each) for each in value]
    return value if name == "test_loop" else as_text(value)


async def run_workflow(
    workflow: Callable[..., Any],
    problem: str,
    ask: Callable[[str], Any],
    entry_point: str | None = None,
    run_code: Any = run_in_subprocess,
    public_tests: Any = (),
    prelude: str = "",
    answers: str = "text",
) -> Any:
    """Return the workflow's answer. Code tasks need the entry point, Test and Select use the public tests.

    `prelude` is code that stands before a solution. `answers` is the kind of answer that Vote counts.
    """
    known = {"run_code": run_code, "public_tests": tuple(public_tests), "entry_point": entry_point}
    llm = Asker(ask, **known, prelude=prelude, answers=answers)
    given = (problem,) if entry_point is None else (problem, entry_point)
    answer, _ = await workflow("workflow", llm, "")(*given)
    return answer


def openai_ask(model: str, temperature: float = 0.0, **client: Any) -> Callable[[str], Awaitable[str]]:
    """Return an `ask` by the openai package; `client` goes to its AsyncOpenAI (base_url, api_key, ...)."""
    from openai import AsyncOpenAI

    asked = AsyncOpenAI(**client)

    async def ask(prompt: str) -> str:
        reply = await asked.chat.completions.create(
            model=model, temperature=temperature, messages=[{"role": "user", "content": prompt}]
        )
        return reply.choices[0].message.content or ""

    return ask
