# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every room's tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers (`make test`) whatever starts verl, vLLM or Ray runs on one of them: it takes 10 GiB."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            if item.get_closest_marker("real"):
                item.add_marker(pytest.mark.xdist_group("real"))


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
