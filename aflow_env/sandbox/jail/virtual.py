# SPDX-License-Identifier: Apache-2.0
"""AFlow's modules inside the jail, so that AFlow's own workflows run there unmodified.

`workspace.<DATASET>.workflows.template.operator`, `workspace.<DATASET>.workflows.round_<N>.prompt`,
`scripts.async_llm`, `scripts.operators` and `scripts.evaluator` exist only in the child's memory. An operator is a stub
whose name and arguments `ask` sends to the parent. Standard library only.
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
    "Vote": {"solutions": _REQUIRED},
    "Select": {"solutions": _REQUIRED, "entry_point": _REQUIRED},
    "MdEnsemble": {"solutions": _REQUIRED, "problem": ""},
    "Programmer": {"problem": _REQUIRED, "analysis": "None"},
    "Test": {"problem": _REQUIRED, "solution": _REQUIRED, "entry_point": _REQUIRED, "test_loop": 3},
    "Format": {"problem": _REQUIRED, "solution": _REQUIRED},
    "Review": {"problem": _REQUIRED, "solution": _REQUIRED},
    "Revise": {"problem": _REQUIRED, "solution": _REQUIRED, "feedback": _REQUIRED},
}


class StubLLM:
    """The result of `create_llm_instance`. It records the cost of the calls made through it, and can be called."""

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


class Stub:
    """The base of every operator. `name` is the operator that the parent calls."""

    name = "Operator"
    signature: Signature | None = None

    def __init__(self, llm: StubLLM, name: str | None = None) -> None:
        self.llm = llm

    async def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self.signature is None:
            if args:
                raise TypeError(f"{self.name} takes keyword arguments only")
            return await self.llm.request(self.name, kwargs)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return await self.llm.request(self.name, bound.arguments)


def _operator(name: str, parameters: dict[str, Any] | None) -> type[Stub]:
    kind = Parameter.POSITIONAL_OR_KEYWORD
    signature = parameters and Signature([Parameter(p, kind, default=d) for p, d in parameters.items()])
    return type(name, (Stub,), {"name": name, "signature": signature})


class Modules(MetaPathFinder, Loader):
    """An import hook that makes AFlow's modules. `prompts` is the text of prompt.py."""

    def __init__(self, prompts: str, ask: Ask) -> None:
        self._prompts = prompts
        self._ask = ask
        self._operators = {name: _operator(name, parameters) for name, parameters in SIGNATURES.items()}

    def install(self) -> None:
        sys.meta_path.insert(0, self)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        ours = fullname.split(".")[0] in ("workspace", "scripts")
        return ModuleSpec(fullname, self, is_package=True) if ours else None

    def exec_module(self, module: ModuleType) -> None:
        names = module.__dict__
        match module.__name__.split("."):
            case ["workspace", _, "workflows", _, "prompt"]:
                exec(compile(self._prompts, "prompt.py", "exec"), names)
            case ["workspace", _, "workflows", "template", "operator"] | ["scripts", "operators"]:
                names.update(self._operators, Operator=Stub, __getattr__=self._unknown)
            case ["scripts", "async_llm"]:
                names["create_llm_instance"] = names["AsyncLLM"] = lambda config: StubLLM(self._ask)
            case ["scripts", "evaluator"]:
                names["DatasetType"] = DatasetType
            case ["scripts", name, *_]:
                raise ModuleNotFoundError(f"scripts.{name} is not available to a workflow", name=module.__name__)

    def _unknown(self, name: str) -> type[Stub]:
        """Make an operator that only the parent may know. The parent checks its keyword arguments."""
        if not name[:1].isupper():
            raise AttributeError(f"module 'operator' has no attribute {name!r}")
        return self._operators.setdefault(name, _operator(name, None))
