# SPDX-License-Identifier: Apache-2.0
"""`aflow-env VERB [key=value ...]`. Overrides are Hydra's; the keys are those of the `aflow:` node.

Exit status: 0 done, 1 `doctor` found something missing, 2 the user's input is wrong (one paragraph on stderr names it
and the fix), 3 the world failed or the budget is spent, 130 Ctrl-C. With `--json` stdout has one object and nothing
else.
"""

import os
import re
import sys
import traceback
from os.path import expanduser

import typer

from aflow_env.cli.arguments import absent
from aflow_env.cli.use import init, run, serve
from aflow_env.cli.verbs import doctor, evaluate, exchange, report, search, show, sweep, training, watch
from aflow_env.errors import BudgetExhausted, ConfigError, InfrastructureError
from aflow_env.files import WORLD, refusal
from aflow_env.screen import one_line, prepare, say

app = typer.Typer(
    name="aflow-env",
    help="Search for better agentic workflows. Overrides are key=value, the keys those of conf/aflow/default.yaml.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("doctor")(doctor.doctor)
app.command("search")(search.search)
app.command("resume")(search.resume)
app.command("show")(show.show)
app.command("best")(show.best)
app.command("evaluate")(evaluate.evaluate)
app.command("test")(evaluate.held_out)
app.command("baselines")(evaluate.baselines)
app.command("import")(exchange.import_workspace)
app.command("export")(exchange.export)
app.command("export-policy")(training.export_policy)
app.command("report")(report.report)
app.command("tree")(report.tree)
app.command("watch")(watch.watch)
app.command("init")(init.init)
app.command("run")(run.run)
app.command("serve")(serve.serve)
app.command("sweep")(sweep.sweep)
app.command("plan")(training.plan)
app.command("data")(training.data)
app.add_typer(training.app, name="model")


def main() -> None:
    """Run the console script."""
    prepare()
    try:
        _run([at_home(argument) for argument in sys.argv[1:]])
    except ConfigError as error:
        sys.exit(_say(error, 2))
    except BudgetExhausted as error:
        sys.exit(_say(error, 3))
    except InfrastructureError as error:
        sys.exit(_say(error, 3, " Nothing that was paid for is lost: run the same command again to go on."))


def at_home(argument: str) -> str:
    """Expand the `~` of a path that the shell left as it was: `--out=~/x`, `run_dir=~/x`."""
    return re.sub(r"^([\w.+-]+=)?~(?=/|$)", lambda found: f"{found[1] or ''}{expanduser('~')}", argument)


def _run(arguments: list[str]) -> None:
    """Run a verb; a file that the system refuses, or a library that training lacks, is never a traceback."""
    try:
        try:
            app(args=arguments)
        finally:
            sys.stdout.flush()
    except ModuleNotFoundError as error:
        modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
        if error.name is None or not any(name.startswith("aflow_env.training.") for name in modules):
            raise
        raise absent(error.name.partition(".")[0]) from error
    except OSError as error:
        if error.filename is not None:
            raise refusal(error, str(error.filename)) from error
        if error.errno not in WORLD:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
        raise refusal(error, "the output cannot be written") from error


def _say(error: Exception, status: int, hint: str = "") -> int:
    text = one_line(str(error))
    say(f"aflow-env: {text}{'' if text.endswith(('.', '?', '!')) else '.'}{hint}", error=True)
    return status
