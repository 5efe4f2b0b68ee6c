# SPDX-License-Identifier: Apache-2.0
"""`aflow-env search`: a search without a trainer. `aflow-env resume RUN`: go on with it, by its saved config."""

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Any

import typer

from aflow_env.cli.arguments import AsJson, Overrides, RunFolder, run_config, search_config
from aflow_env.cli.output import print_json, score_text
from aflow_env.cli.progress import SearchLog, SearchProgress, finishing, search_log
from aflow_env.config import AflowConfig
from aflow_env.screen import say
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import at_most, report
from aflow_env.search.kinds import check_predictor
from aflow_env.search.session import INTERRUPTED, SearchSession, Turn
from aflow_env.store.findings import last_report, overview


def search(overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Search for a better workflow; run the same command again to go on where it stopped."""
    search_to_end(search_config(overrides or ()), as_json)


def search_to_end(config: AflowConfig, as_json: bool) -> None:
    """Search, and print the result. Status 130 after a Ctrl-C.

    The first Ctrl-C finishes the rounds in flight and prints the best so far, without a closing report; the second ends
    at once. Either leaves everything that was paid for on disk.
    """
    check_predictor(config)
    try:
        text, found = asyncio.run(_search(config))
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say_stopped(config)
        raise typer.Exit(130) from None
    if as_json:
        print_json(found)
    else:
        say(text)
    if found["stopped"] == INTERRUPTED:
        _say_stopped(config)
        raise typer.Exit(130)


def _say_stopped(config: AflowConfig) -> None:
    say(f"\nStopped. Every round that ended is on disk: aflow-env resume {config.run_dir}", error=True)


async def _search(config: AflowConfig) -> tuple[str, dict[str, Any]]:
    """Search, tell the loggers, and return the closing text and the object of `--json`."""
    async with aclosing(await Assembly.open(config)) as assembly:
        with search_log(assembly) as log:
            return await _logged(assembly, log)


async def _logged(assembly: Assembly, log: SearchLog) -> tuple[str, dict[str, Any]]:
    config, tell = assembly.config, partial(say, error=True)
    with (
        SearchProgress(config.rounds, lambda: assembly.budget.totals.spent) as progress,
        finishing("rounds", progress.note) as interrupt,
    ):
        progress.note(at_most(config))
        if config.lookahead.chooses and config.proposer != "random":
            progress.note(f"lookahead.edits={config.lookahead.edits}: that many calls for each node's proposals")

        def ended(session: SearchSession, turn: Turn) -> None:
            progress(session, turn)
            log.ended(session, turn)

        session = await assembly.play(ended, interrupt)
    if interrupt.is_set():
        log.end(None, tell)
        found = {**overview(assembly.store), "stopped": INTERRUPTED, "test": None}
        best = found["best"]
        score = f"{score_text(best['score'], best['ci95'])}, n={best['n']}"
        return f"best so far: round {best['round']}, {score}, {best['digest']}", found
    closing = await report(assembly)
    log.end(closing, tell)
    said = last_report(assembly.store) or {}
    found = {**overview(assembly.store), "stopped": session.stopped, "test": said.get("test")}
    return f"{closing.text}stopped by: {session.stopped}", found


def resume(run: RunFolder, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Go on where a search stopped. Overrides may say how far or how fast (rounds=, budget.usd=, stop.*), no more."""
    search_to_end(run_config(run, overrides), as_json)
