# SPDX-License-Identifier: Apache-2.0
"""The parts of a search that one process at a time may have."""

from pathlib import Path

import pytest

from aflow_env.errors import ConfigError
from aflow_env.search.assemble import Assembly
from tests.search.quick import config


async def test_a_second_search_in_a_folder_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    """Both would pay for the same rounds, and with another config mix their results."""
    first = await Assembly.open(config(tmp_path))
    second = await Assembly.open(config(tmp_path, "seed=1"))
    try:
        first.prepare()
        with pytest.raises(ConfigError, match=r"run_dir=.*: another process searches or trains there; wait for"):
            second.prepare()
        await first.aclose()
        second.prepare()
    finally:
        await second.aclose()
