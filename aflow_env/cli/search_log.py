# SPDX-License-Identifier: Apache-2.0
"""Log a search without a trainer (`logger=[wandb,tensorboard,jsonl]`), under the names of a training's metrics."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from aflow_env.cli.arguments import needs
from aflow_env.config import AflowConfig
from aflow_env.report.loggers import LOGGERS, Logger, figures
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import Report
from aflow_env.search.session import SearchSession, Turn, session_summary
from aflow_env.training.trainer.metrics import q_metrics, session_metrics

NOT_OF_A_SEARCH = ("aflow/episode_return", "aflow/predict_seconds")
"""Training's figures of rewards and of a session's waiting."""


class SearchLog:
    """The loggers of one search. Its steps are rounds; `ended` is a listener of `Search.play`."""

    def __init__(self, config: AflowConfig, loggers: list[Logger]) -> None:
        self._config, self._loggers, self._began, self._step = config, loggers, time.monotonic(), 0

    def ended(self, session: SearchSession, turn: Turn) -> None:
        """Log a round that has ended."""
        if self._loggers:
            self._step = session.tree.played
            self._log({**self._figures(), **session_figures(session, self._config, time.monotonic() - self._began)})

    def end(self, report: Report | None, say: Callable[[str], None]) -> None:
        """Log the closing table, if any, end the loggers, and say where the logs are."""
        if self._loggers:
            self._log({**self._figures(), **(report.metrics if report else {})})
        for logger in self._loggers:
            say(logger.end(self._step))

    def _figures(self) -> dict[str, float]:
        return figures(self._config.run_dir, time.monotonic() - self._began)

    def _log(self, metrics: dict[str, float]) -> None:
        for logger in self._loggers:
            logger.log(metrics, self._step)


@contextmanager
def search_log(assembly: Assembly) -> Iterator[SearchLog]:
    """Prepare the search, lock the run's config, then open its loggers: a search that is refused writes nothing.

    Raises ConfigError for a config that the run does not take, and where a part or a library of a logger is missing.
    """
    config = assembly.config
    kinds = [LOGGERS[kind] for kind in config.logger]
    for kind in kinds:
        needs("log", *kind.libraries)
    assembly.prepare()
    with ExitStack() as stack:
        loggers: list[Logger] = [stack.enter_context(closing(kind(config))) for kind in kinds]
        yield SearchLog(config, loggers)


def session_figures(session: SearchSession, config: AflowConfig, seconds: float) -> dict[str, float]:
    """Return training's figures of a session so far, without those that a search does not have."""
    predicted = [
        {"parent": turn.state.workflow.digest, "q": turn.prediction.q, "mass": turn.prediction.mass, "q_target": score}
        for turn in session.turns
        if turn.prediction and (score := turn.q_target) is not None
    ]
    facts = {"return": 0.0, "seconds": seconds, "seed": 0, "predict_seconds": 0.0, "predictions": predicted}
    played = [{**session_summary(session), **facts}]
    found = {"aflow/rl_weight": config.rl_weight, **session_metrics(played), **q_metrics(played)}
    return {name: value for name, value in found.items() if name not in NOT_OF_A_SEARCH}
