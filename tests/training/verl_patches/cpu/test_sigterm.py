# SPDX-License-Identifier: Apache-2.0
"""A real run that is told to stop, as a cluster's scheduler does, ends soon and leaves nothing behind."""

from pathlib import Path

import pytest

from tests.main_job import Holdings, Run

pytest.importorskip("verl", reason="needs verl: make setup")
pytest.importorskip("vllm", reason="needs vllm: make setup")
pytestmark = pytest.mark.real


def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    """While it loads: Ray and its workers are there, and no step has begun."""
    with Run(tmp_path) as run:
        run.wait_for("the workers load the policy")
        held = Holdings(run)
        run.driver.terminate()
        status = run.driver.wait(timeout=60)
        assert status > 0, "negative: it crashed, or was killed, in the middle of its clean-up"
        assert held.left() == []
