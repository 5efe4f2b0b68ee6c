# SPDX-License-Identifier: Apache-2.0
"""`aflow-env serve RUN_OR_DIR`: a workflow as a model behind an OpenAI-compatible endpoint."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from aflow_env.cli.compose import values
from aflow_env.cli.options import Overrides, needs
from aflow_env.cli.verbs.evaluate import named
from aflow_env.config import AflowConfig, BudgetConfig
from aflow_env.errors import ConfigError
from aflow_env.search.answering import answering, apart
from aflow_env.workflow.program import Workflow

HERE = ("127.0.0.1", "localhost", "::1")
GRACE_SECONDS = 30
"""How long requests may go on once the server is asked to end."""


def serve(
    target: Annotated[Path, typer.Argument(help="A run (its best workflow is served), or a workflow folder.")],
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; another than this machine's needs a key.")] = HERE[0],
    name: Annotated[str, typer.Option(help="The model's name; default: TASK-DIGEST.")] = "",
    api_key_variable: Annotated[str, typer.Option(help="Variable with the key that clients must send.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests that are answered at a time.")] = 8,
    request_usd: Annotated[float | None, typer.Option(min=0, help="Ceiling of one request in USD.")] = None,
    request_tokens: Annotated[int | None, typer.Option(min=0, help="Ceiling of one request in tokens.")] = None,
    request_calls: Annotated[int | None, typer.Option(min=0, help="Ceiling of one request in calls.")] = None,
) -> None:
    """Serve the workflow until Ctrl-C or SIGTERM. budget.* is the ceiling of all requests together."""
    needs("serve", "starlette", "uvicorn")
    key = _key(api_key_variable)
    if key is None and host not in HERE:
        raise ConfigError(
            f"--host={host}: whoever reaches this address could spend your money; set --api-key-variable=NAME too, "
            "with the key in that variable"
        )
    config, workflow = named(target, list(overrides or ()))
    config = config.model_copy(update={"sandbox": config.sandbox.model_copy(update={"workers": concurrency})})
    budget = BudgetConfig(usd=request_usd, tokens=request_tokens, calls=request_calls)
    model = name or f"{Path(config.task.name).stem.partition(':')[0]}-{workflow.digest[:8]}"
    with contextlib.ExitStack() as stack:
        if "run_dir" not in values(overrides or ()):
            config = apart(config, stack.enter_context(TemporaryDirectory(prefix="aflow-env-")))
        asyncio.run(_serve(config, workflow, stack.enter_context(_listen(host, port)), model, key, concurrency, budget))


def _key(variable: str) -> str | None:
    if variable and not os.environ.get(variable):
        raise ConfigError(f"--api-key-variable={variable}: the variable is not set; put the clients' key there")
    return os.environ[variable] if variable else None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"--host={host} --port={port}: cannot listen there ({error}); name another --port") from error


async def _serve(
    config: AflowConfig,
    workflow: Workflow,
    listener: socket.socket,
    model: str,
    key: str | None,
    concurrency: int,
    budget: BudgetConfig,
) -> None:
    import uvicorn

    from aflow_env.cli.serving import Endpoint

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """End by SIGINT and SIGTERM, and do not send them again to this process: it has to clean up."""
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

    async with answering(config, workflow) as answer:
        answer.price(budget)
        host, port = listener.getsockname()[:2]
        endpoint = Endpoint(answer, model, key, concurrency, budget, HERE if host in HERE else (), _say)
        options = uvicorn.Config(
            endpoint.app(), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_SECONDS
        )
        simulated = ", SIMULATED executor" if config.executor.kind == "simulated" else ""
        address = f"[{host}]" if ":" in host else host
        _say(f"serving {model}{simulated} at http://{address}:{port}/v1 (Ctrl-C ends)")
        await Server(options).serve(sockets=[listener])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
