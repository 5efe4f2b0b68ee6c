# SPDX-License-Identifier: Apache-2.0
"""The process in which answers of mathematics are compared: benchmarks/math_child.py behind the layers of this machine.

A script, started by tasks/benchmarks/math_judge.py in an isolated interpreter with an empty environment. The first
question is the parent's own and makes the libraries load; then the jail closes for ever, and the words of models
follow. The jail is that of generated code (confine.py), but that installed packages may be read and nothing may be
written.

One JSON line a question, one a reply, over standard input and output, until the input ends. A question that takes more
processor time than the script's argument, in seconds, kills the process, whatever library it is in.
"""

import logging
import signal
import sys
import sysconfig
import types
from pathlib import Path

if "aflow_env" not in sys.modules:  # a script: give the files their package names, and run no package's __init__
    _root = Path(__file__).resolve().parents[1]
    for _name in (
        "aflow_env",
        *(f"aflow_env.{room}" for room in ("sandbox", "sandbox.kernel", "tasks", "tasks.benchmarks")),
    ):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [str(_root.joinpath(*_name.split(".")[1:]))]

from aflow_env.sandbox.kernel.confine import LAYERS, Confinement
from aflow_env.tasks.benchmarks.math_child import answer

LIMITS = {"RLIMIT_AS": 1 << 30, "RLIMIT_FSIZE": 0, "RLIMIT_NOFILE": 64, "RLIMIT_CORE": 0, "RLIMIT_MEMLOCK": 0}


def main() -> None:
    """Answer the parent's own question, close the jail, serve."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0  # 0: no limit
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    answers, sys.stdout = sys.stdout, sys.stderr
    for number, line in enumerate(sys.stdin):
        if number == 1:
            jail()
        signal.setitimer(signal.ITIMER_PROF, seconds if number else 0.0)
        answers.write(answer(line))
        answers.flush()


def jail() -> None:
    """Put on every layer that this machine has."""
    library = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    Confinement(LAYERS, None, sorted(library)).apply(LIMITS)


if __name__ == "__main__":
    main()
