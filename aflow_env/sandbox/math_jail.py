# SPDX-License-Identifier: Apache-2.0
"""The process that compares answers of mathematics: benchmarks/math_child.py behind the layers of this machine.

tasks/benchmarks/math.py starts this script in an isolated interpreter with an empty environment. The first
question is the parent's own and loads the libraries. Then the process confines itself as for generated code
(confine.py), but that it may read installed packages and write nothing. Texts of models follow.

Each question and each reply is one JSON line, over standard input and output, until the input ends. A question that
takes more processor time than the script's argument, in seconds, kills the process, even inside C code.
"""

import logging
import signal
import sys
import sysconfig
import types
from pathlib import Path

if "aflow_env" not in sys.modules:  # a script: give the files their package names, and run no package's __init__
    _root = Path(__file__).resolve().parents[1]
    for _room in ("", "sandbox", "sandbox.kernel", "tasks", "tasks.benchmarks", "workflow"):
        _module = types.ModuleType(f"aflow_env.{_room}".rstrip("."))
        _module.__path__ = [str(_root.joinpath(*_room.split(".")))]
        sys.modules[_module.__name__] = _module

from aflow_env.sandbox.kernel.confine import LAYERS, Confinement
from aflow_env.tasks.benchmarks.math_child import answer

LIMITS = {"RLIMIT_AS": 1 << 30, "RLIMIT_FSIZE": 0, "RLIMIT_NOFILE": 64, "RLIMIT_CORE": 0, "RLIMIT_MEMLOCK": 0}


def main() -> None:
    """Answer the parent's own question, put on every layer of this machine, serve."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0  # 0: no limit
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    answers, sys.stdout = sys.stdout, sys.stderr
    for number, line in enumerate(sys.stdin):
        if number == 1:
            library = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
            Confinement(LAYERS, None, sorted(library)).apply(LIMITS)
        signal.setitimer(signal.ITIMER_PROF, seconds if number else 0.0)
        answers.write(answer(line))
        answers.flush()


if __name__ == "__main__":
    main()
