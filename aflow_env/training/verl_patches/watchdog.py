# SPDX-License-Identifier: Apache-2.0
"""End a run whose worker has died, with a text that names the worker.

Mends verl 0.9.1, which waits for a dead worker for ever. `Watchdog` runs in the process of verl's TaskRunner. It asks
Ray's GCS every few seconds for actors of this job that did not end normally: killed, crashed, out of memory, their node
lost. vLLM's engine is a child of verl's server actor, which survives the engine's death. So `watch_engine` runs beside
each server and ends the actor with its engine, on any node.

The TaskRunner's main thread may wait in a `ray.get` that neither a signal nor an exception can end (Ray 2.60). So after
a grace in which the run may fail by itself the process exits, and the driver's `ray.get` raises. The driver prints the
text last of all (`verdict`, called by janitor.py).
"""

import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from types import ModuleType, TracebackType
from typing import Any

import ray

from aflow_env.training.verl_patches.janitor import alive, descendants, title

LOOK_EVERY = 2.0
GRACE = 15.0
"""Seconds in which the trainer may still fail by itself (closing its logger), once a death was seen."""
PATIENCE = 4 * LOOK_EVERY
"""Seconds that an error of the trainer waits for a death to be seen: `watch_engine` takes two looks, Ray one."""
ENDED_NORMALLY = ("OUT_OF_SCOPE", "REF_DELETED", "RAY_KILL")
WORDS, VERDICT = "aflow_last_words_", "aflow_verdict_"


def deaths(actors: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return who died abnormally and why, by actor id, from Ray's actor table (`ray._private.state.actors`)."""
    found = {}
    for actor_id, actor in actors.items():
        context = getattr(actor["DeathCause"], "actor_died_error_context", None)
        reason = context.Reason.Name(context.reason) if context is not None else ""
        if actor["State"] != "DEAD" or reason in ENDED_NORMALLY:
            continue
        cause = (context.error_message if context is not None else "") or str(actor["DeathCause"]).strip()
        name = f" {actor['Name']!r}" if actor["Name"] else ""
        who = f"the Ray actor {actor['ActorClassName']}{name}, pid {actor['Pid']} on {actor['Address']['IPAddress']}"
        found[actor_id] = f"It was {who}: {cause or 'no cause given'}"
    return found


def paragraph(accounts: Iterable[str]) -> str:
    """Return one paragraph on who died and why."""
    return (
        f"aflow_env: the run ends because a part of it died. {' '.join(accounts)} If memory ran out (dmesg shows it), "
        "give the run less: fewer rows a micro-batch, a smaller KV cache (VLLM_CPU_KVCACHE_SPACE, in GiB) or "
        "actor_rollout_ref.actor.fsdp_config.model_dtype=bf16. The same command, started again, goes on from the last "
        "checkpoint; what was evaluated is in the store."
    )


class Watchdog:
    """Watch a trainer's work: `with Watchdog(): ...` in the TaskRunner, at any depth, once."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._reported = False
        self._thread = threading.Thread(target=self._watch, name="aflow-watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if error is not None:
            deadline = time.monotonic() + PATIENCE  # the error may be the first that anyone hears of the death
            while not (found := _look()) and time.monotonic() < deadline:
                time.sleep(LOOK_EVERY / 2)
            self._report(found)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            if found := _look():
                self._report(found)
                if not self._over.wait(GRACE):
                    os._exit(70)
                return

    def _report(self, found: Mapping[str, str]) -> None:
        if not found or self._reported:
            return
        self._reported = True
        text = paragraph(_read(WORDS + actor_id) or account for actor_id, account in found.items())
        _write(VERDICT + _job(), text)
        print(text, file=sys.stderr, flush=True)


def verdict() -> str:
    """Return the text of this job's watchdog, "" if nobody died or Ray is not up; for the driver's last line."""
    return _read(VERDICT + _job()) if ray.is_initialized() else ""


def watch_engine(_: ModuleType) -> None:
    """Let a server actor exit when one of vLLM's processes below it dies, so that Ray and the watchdog learn of it.

    The plugin calls it when verl's vLLM server module is imported. Outside of an actor it does nothing.
    """
    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
        threading.Thread(target=_watch_engine, name="aflow-engine-watch", daemon=True).start()


def _watch_engine() -> None:
    seen = {}
    while True:
        time.sleep(LOOK_EVERY)
        for process in descendants(os.getpid()):
            if process not in seen and title(process).startswith("VLLM::"):
                seen[process] = title(process)
        dead = [process for process in seen if not alive(process)]
        if dead:
            time.sleep(LOOK_EVERY)  # at a normal end this process is gone before the next line
            names = ", ".join(f"{seen[process]} (pid {process.pid})" for process in dead)
            actor = ray.get_runtime_context().get_actor_id()
            text = f"vLLM's process {names}, below the rollout server (pid {os.getpid()}), died: killed or crashed."
            _write(WORDS + str(actor), text)
            print(f"aflow_env: {text}", file=sys.stderr, flush=True)
            os._exit(70)


def _look() -> dict[str, str]:
    from ray._private.state import actors

    return deaths(actors(job_id=ray.JobID.from_hex(_job())))


def _job() -> str:
    return str(ray.get_runtime_context().get_job_id())


def _read(key: str) -> str:
    from ray.experimental.internal_kv import _internal_kv_get

    return (_internal_kv_get(key) or b"").decode()


def _write(key: str, text: str) -> None:
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(key, text.encode())
