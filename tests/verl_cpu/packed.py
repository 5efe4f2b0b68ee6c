# SPDX-License-Identifier: Apache-2.0
"""Log-probs of rows of different lengths by verl's FSDP2 engine on a CPU, packed and padded, after a little training.

`python -m tests.verl_cpu.packed MODEL` prints one JSON object: rows of log-probs for "packed" and "padded", and how far
training moved them ("moved"). In a process of its own, because it opens torch's global process group.
"""

import json
import os
import sys
from typing import Any

import torch
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
from verl.workers.config.checkpoint import CheckpointConfig
from verl.workers.engine import BaseEngine, EngineRegistry

LENGTHS = (5, 31, 12, 64)


def engine(model: str) -> BaseEngine:
    built = EngineRegistry.new(
        model_type="language_model",
        backend="fsdp2",
        model_config=HFModelConfig(path=model, override_config={"attn_implementation": "sdpa"}),
        engine_config=FSDPEngineConfig(
            strategy="fsdp2", use_torch_compile=False, use_dynamic_bsz=False, micro_batch_size_per_gpu=len(LENGTHS)
        ),
        optimizer_config=FSDPOptimizerConfig(lr=1e-2, total_training_steps=10, lr_warmup_steps=0),
        checkpoint_config=CheckpointConfig(),
    )
    built.initialize()
    return built


def batch(*, packed: bool) -> Any:
    """Rows of random tokens, as nested tensors, the same at every call."""
    draw = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 256, (length,), generator=draw) for length in LENGTHS]

    def nested(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.nested.as_nested_tensor(tensors, layout=torch.jagged)

    return tu.get_tensordict(
        {
            "input_ids": nested(rows),
            "position_ids": nested([torch.arange(length) for length in LENGTHS]),
            "loss_mask": nested([torch.ones(length, dtype=torch.long) for length in LENGTHS]),
        },
        non_tensor_dict={
            "use_remove_padding": packed,
            "temperature": 1.0,
            "use_dynamic_bsz": False,
            "micro_batch_size_per_gpu": len(LENGTHS),
            "pad_token_id": 257,
        },
    )


def loss(model_output: dict[str, torch.Tensor], data: Any, dp_group: object) -> tuple[torch.Tensor, dict[str, float]]:
    return -model_output["log_probs"].values().mean(), {}


def log_probs(built: BaseEngine, *, packed: bool) -> list[list[float]]:
    """Of each row's tokens but the first; the engine's last value a row belongs to the next row's first token."""
    with built.eval_mode():
        rows = built.infer_batch(batch(packed=packed))["model_output"]["log_probs"].unbind()
    return [row[:-1].float().tolist() for row in rows]


def main(model: str) -> None:
    torch.manual_seed(0)
    torch.distributed.init_process_group("cpu:gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    built = engine(model)
    before = log_probs(built, packed=True)
    with built.train_mode():
        for _ in range(3):
            built.train_batch(batch(packed=True), loss)
    packed, padded = log_probs(built, packed=True), log_probs(built, packed=False)
    moved = max(abs(a - b) for old, new in zip(before, packed, strict=True) for a, b in zip(old, new, strict=True))
    print(json.dumps({"packed": packed, "padded": padded, "moved": moved}))


if __name__ == "__main__":
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    main(sys.argv[1])
