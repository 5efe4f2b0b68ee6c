# SPDX-License-Identifier: Apache-2.0
"""`aflow-env resume RUN`: go on with a search, by the config that it keeps."""

from aflow_env.cli import search
from aflow_env.cli.options import AsJson, Overrides, Run, run_config


def resume(run: Run, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Go on where a search stopped. Overrides may say how far or how fast (rounds=, budget.usd=, stop.*), no more."""
    search.run(run_config(run, overrides), as_json)
