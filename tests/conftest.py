# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every room's tests share."""

import gc
import logging
import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch's idle threads would spin and take the other worker's core
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each process that a test starts would compile the package again
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores Ctrl-C, and so would its children
settings.register_profile("busy", deadline=None)  # other tests use the machine, too
settings.load_profile("busy")
ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@cache
def scope(file: str) -> str:
    """What one worker runs in one go: the tests of a file, or of all files that start verl, vLLM or Ray (10 GiB)."""
    return "real" if "pytest.mark.real" in (ROOT / file).read_text(encoding="utf-8") else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first."""
    files = {item: str(item.path.relative_to(ROOT)) for item in items}
    long = {files[item] for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (scope(files[item]) != "real", files[item] not in long))
    gc.freeze()  # what verl, vLLM and torch have brought is there to stay: no collection has to look at it


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The scheduler of `make test`: by `scope`. (xdist 3.8's own groups go unseen under pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class ByScope(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid.split("::")[0])

    return ByScope(config, log)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden outputs and benchmark data beside the checkout; the test skips where it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared folder beside the checkout ({SHARED.name}/ with golden/ and data/)")
    return SHARED


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """No test leaves variables behind: a WANDB_RUN_ID that one sets would be the run of every process started later."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def loggers_on() -> None:
    """Turn the package's loggers on for each test: libraries that others started here may have turned loggers off."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.split(".")[0] == "aflow_env" and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)
