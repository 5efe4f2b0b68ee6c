# SPDX-License-Identifier: Apache-2.0
"""AFlow's modules as a workflow inside the jail sees them, so that AFlow's own workflows run there unmodified.

`workspace.<DATASET>.workflows.template.operator`, `workspace.<DATASET>.workflows.round_<N>.prompt`,
`scripts.async_llm`, `scripts.operators` and `scripts.evaluator` exist only in the child's memory. An operator is a
stub: it names itself and its arguments to `ask`, which sends them to the parent and awaits the reply. Standard library
only.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from inspect import Parameter, Signature
from types import ModuleType
from typing import Any, Literal

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""(operator, arguments) -> the parent's reply {"result": {...}, "cost_usd": float}."""

DatasetType = Literal["HumanEval", "MBPP", "GSM8K", "MATH", "HotpotQA", "DROP", "LiveCodeBench"]

_REQUIRED = Parameter.empty
SIGNATURES: dict[str, dict[str, Any]] = {  # operator -> argument -> default
    "Custom": {"input": _REQUIRED, "instruction": _REQUIRED},
    "AnswerGenerate": {"input": _REQUIRED},
    "CustomCodeGenerate": {"problem": _REQUIRED, "entry_point": _REQUIRED, "instruction": _REQUIRED},
    "ScEnsemble": {"solutions": _REQUIRED, "problem": ""},
    "MdEnsemble": {"solutions": _REQUIRED, "problem": ""},
    "Programmer": {"problem": _REQUIRED, "analysis": "None"},
    "Test": {"problem": _REQUIRED, "solution": _REQUIRED, "entry_point": _REQUIRED, "test_loop": 3},
    "Format": {"problem": _REQUIRED, "solution": _REQUIRED},
    "Review": {"problem": _REQUIRED, "solution": _REQUIRED},
    "Revise": {"problem": _REQUIRED, "solution": _REQUIRED, "feedback": _REQUIRED},
}


class LLM:
    """What `create_llm_instance` returns: it keeps the cost of the calls made through it, and can be asked directly."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.calls: list[float] = []

    async def request(self, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        reply = await self._ask(operator, arguments)
        self.calls.append(float(reply.get("cost_usd", 0.0)))
        result: dict[str, Any] = reply["result"]
        return result

    async def __call__(self, prompt: str) -> str:
        return str((await self.request("LLM", {"prompt": prompt}))["response"])

    def get_usage_summary(self) -> dict[str, Any]:
        return {"total_cost": sum(self.calls), "call_count": len(self.calls), "history": []}


class Operator:
    """The base of every stub; `name` is what the parent is asked for."""

    name = "Operator"
    signature: Signature | None = None

    def __init__(self, llm: LLM, name: str | None = None) -> None:
        self.llm = llm

    async def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self.signature is None:
            if args:
                raise TypeError(f"{self.name} takes keyword arguments only")
            return await self.llm.request(self.name, kwargs)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return await self.llm.request(self.name, bound.arguments)


def _operator(name: str, parameters: dict[str, Any] | None) -> type[Operator]:
    kind = Parameter.POSITIONAL_OR_KEYWORD
    signature = parameters and Signature([Parameter(p, kind, default=d) for p, d in parameters.items()])
    return type(name, (Operator,), {"name": name, "signature": signature})


class Modules(MetaPathFinder, Loader):
    """An import hook that makes AFlow's modules: `prompts` is the text of prompt.py, `ask` the way to the parent."""

    def __init__(self, prompts: str, ask: Ask) -> None:
        self._prompts = prompts
        self._ask = ask
        self._operators = {name: _operator(name, parameters) for name, parameters in SIGNATURES.items()}

    def install(self) -> None:
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] not in ("workspace", "scripts"):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        match module.__name__.split("."):
            case ["workspace", _, "workflows", _, "prompt"]:
                exec(compile(self._prompts, "prompt.py", "exec"), module.__dict__)
            case ["workspace", _, "workflows", "template", "operator"] | ["scripts", "operators"]:
                module.__dict__.update(self._operators, Operator=Operator)
                module.__dict__["__getattr__"] = self._unknown
            case ["scripts", "async_llm"]:
                module.__dict__["create_llm_instance"] = module.__dict__["AsyncLLM"] = lambda config: LLM(self._ask)
            case ["scripts", "evaluator"]:
                module.__dict__["DatasetType"] = DatasetType
            case ["scripts", name, *_]:
                raise ModuleNotFoundError(f"scripts.{name} is not available to a workflow", name=module.__name__)

    def _unknown(self, name: str) -> type[Operator]:
        """An operator that only the parent may know: keyword arguments as they are, and the parent decides."""
        if not name[:1].isupper():
            raise AttributeError(f"module 'operator' has no attribute {name!r}")
        return self._operators.setdefault(name, _operator(name, None))
