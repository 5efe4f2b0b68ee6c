# SPDX-License-Identifier: Apache-2.0
"""A real run that is told to stop, as a cluster's scheduler does, ends soon and leaves nothing behind."""

import time
from pathlib import Path

import pytest

from aflow_env.training.verl_patches.janitor import descendants, holdings
from tests.main_job import START, Holdings, Run

pytest.importorskip("verl", reason="needs verl: make setup")
pytest.importorskip("vllm", reason="needs vllm: make setup")
pytestmark = pytest.mark.real


def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    """While the rollout server starts: all processes are there, and shared memory, and no step has begun."""
    with Run(tmp_path) as run:
        run.wait_for("the rollout server starts")
        deadline = time.monotonic() + START
        while not any(path.startswith("/dev/shm/") for path in holdings(descendants(run.driver.pid))):
            assert time.monotonic() < deadline, run.text()
            time.sleep(0.2)
        held = Holdings(run)
        run.driver.terminate()
        status = run.driver.wait(timeout=60)
        assert status > 0, "negative: it crashed, or was killed, in the middle of its clean-up"
        assert held.left() == []
