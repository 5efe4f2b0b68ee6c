# SPDX-License-Identifier: Apache-2.0
"""`aflow-env serve RUN_OR_DIR`: a workflow as a model behind an OpenAI-compatible endpoint."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aflow_env.cli.arguments import Overrides, needs
from aflow_env.cli.compose import values
from aflow_env.cli.use.answering import answering
from aflow_env.cli.verbs.evaluate import named
from aflow_env.config import BudgetConfig
from aflow_env.errors import ConfigError
from aflow_env.screen import say

if TYPE_CHECKING:
    from starlette.applications import Starlette

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
    request_usd: Annotated[float | None, typer.Option(min=0, max=1e6, help="Ceiling of one request in USD.")] = None,
    request_tokens: Annotated[
        int | None, typer.Option(min=0, max=10**12, help="Ceiling of one request in tokens.")
    ] = None,
    request_calls: Annotated[
        int | None, typer.Option(min=0, max=10**12, help="Ceiling of one request in calls.")
    ] = None,
) -> None:
    """Serve the workflow until Ctrl-C or SIGTERM. budget.* is the ceiling of all requests together."""
    needs("serve", "starlette", "uvicorn")
    key = os.environ.get(api_key_variable) or None
    if api_key_variable and key is None:
        raise ConfigError(f"--api-key-variable={api_key_variable}: it is not set; put the clients' key there")
    if key is None and host not in HERE:
        raise ConfigError(
            f"--host={host} is open to others: set --api-key-variable=NAME, with the clients' key in NAME"
        )
    ceiling = BudgetConfig(usd=request_usd, tokens=request_tokens, calls=request_calls)
    given = [*(overrides or ()), f"sandbox.workers={concurrency}"]
    config, workflow = named(target, given)
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(f"--host={host} --port={port}: cannot listen there ({error}); name another --port") from error

    async def answer_all() -> None:
        from aflow_env.cli.use.serving import Endpoint

        tell = partial(say, error=True)
        async with answering(config, workflow, temporary="run_dir" not in values(given)) as answer:
            answer.price(needed=request_usd is not None)
            model = name or f"{answer.assembly.task.spec.name}-{workflow.digest[:8]}"
            bounded = None if ceiling == BudgetConfig() else ceiling
            place = f"{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
            simulated = ", SIMULATED executor," if config.executor.kind == "simulated" else ""
            tell(f"serving {model}{simulated} at http://{place}/v1 (Ctrl-C ends)")
            hosts = HERE if host in HERE else ()
            await _until_asked(Endpoint(answer, model, key, concurrency, bounded, hosts, tell).app(), listener)

    with listener:
        asyncio.run(answer_all())


async def _until_asked(app: "Starlette", listener: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """End by SIGINT and SIGTERM without sending them again to this process, which has to clean up."""
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
            yield

    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_SECONDS
    )
    await Server(config).serve(sockets=[listener])
