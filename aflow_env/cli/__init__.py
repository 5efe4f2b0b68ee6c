# SPDX-License-Identifier: Apache-2.0
"""`aflow-env VERB [key=value ...]`: one verb a file. Overrides are Hydra's; the keys are those of the `aflow:` node.

A ConfigError is one paragraph on stderr and status 2; with `--json` stdout carries one object and nothing else.
"""

import sys

import typer

from aflow_env.cli import data, doctor, model, search, show
from aflow_env.errors import ConfigError, InfrastructureError

app = typer.Typer(
    name="aflow-env", help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.command("doctor")(doctor.doctor)
app.command("search")(search.search)
app.command("evaluate")(search.evaluate)
app.command("show")(show.show)
app.command("data")(data.data)
app.add_typer(model.app, name="model")


def main() -> None:
    """The console script."""
    try:
        app()
    except ConfigError as error:
        sys.exit(_say(str(error), 2))
    except InfrastructureError as error:
        sys.exit(_say(f"{error}. Nothing that was paid for is lost: run the same command again to go on", 3))


def _say(text: str, status: int) -> int:
    print(f"aflow-env: {text}", file=sys.stderr)
    return status
