# SPDX-License-Identifier: Apache-2.0
"""Write template/operator.py of an AFlow workspace: AFlow's own operators, and ours in plain Python.

Select runs AFlow's public tests in AFlow's process, by `exec_code` of AFlow's operator Test.
"""

from aflow_env.workflow import answers, operators
from aflow_env.workflow.aflow.standalone import needed
from aflow_env.workflow.signatures import SIGNATURES

OURS = ("Vote", "Select")
_HEAD = """\
import re
from collections import Counter
from decimal import Decimal

from scripts.operators import {names}  # AFlow's
"""
_CLASSES = '''\
class Vote(Custom):
    """{vote}"""

    async def __call__(self, solutions, **others):
        return {{"response": most_voted([str(each) for each in solutions], {answers!r})}}


class Select(Test):
    """{select}"""

    async def __call__(self, solutions, entry_point, **others):
        failures = []
        for solution in solutions:
            failures.append(str(self.exec_code(solution, entry_point)))
            if failures[-1] == "no error":
                return {{"result": True, "solution": solution}}
        common = Counter(failures).most_common(1)[0][0]
        return {{"result": False, "solution": solutions[failures.index(common)]}}
'''


def template_operators(kind: str) -> str:
    """Return the file's text for a task with answers of this kind."""
    head = _HEAD.format(names=", ".join(name for name in SIGNATURES if name not in OURS))
    library = (source for source, _ in needed([answers, operators], ["most_voted"]))
    said = {name.lower(): SIGNATURES[name].description() for name in OURS}
    return "\n\n\n".join([head.strip("\n"), *library, _CLASSES.format(answers=kind, **said)])
