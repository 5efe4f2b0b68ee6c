# SPDX-License-Identifier: Apache-2.0
"""Log-probs and gradients of rows of different lengths by verl's FSDP2 engine on a CPU, packed and padded.

`python -m tests.training.verl_patches.cpu.packed MODEL` prints one JSON object: after a little training, rows of
log-probs for "packed" and "padded" and how far training moved them ("moved"); and the fp32 gradient of one update, by
ways that must agree ("gradients": name -> [its norm, norm of its difference from the padded one]). In a process of its
own, because it opens torch's global process group.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import torch
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
from verl.workers.config.checkpoint import CheckpointConfig
from verl.workers.engine import BaseEngine, EngineRegistry

LENGTHS = (5, 31, 12, 64)


def engine(model: str, *, exact: bool = False, **settings: Any) -> BaseEngine:
    """verl's engine as a training run builds it; `exact` computes in fp32 instead of bf16. `settings`: of the model."""
    built = EngineRegistry.new(
        model_type="language_model",
        backend="fsdp2",
        model_config=HFModelConfig(
            path=model,
            override_config={"attn_implementation": "sdpa"},
            fused_kernel_options={"impl_backend": "torch"},
            **settings,
        ),
        engine_config=FSDPEngineConfig(
            strategy="fsdp2",
            use_torch_compile=False,
            mixed_precision={"param_dtype": "fp32"} if exact else None,
        ),
        optimizer_config=FSDPOptimizerConfig(lr=1e-2, total_training_steps=10, lr_warmup_steps=0),
        checkpoint_config=CheckpointConfig(),
    )
    built.initialize()
    return built


def batch(
    *,
    packed: bool,
    lengths: Sequence[int] = LENGTHS,
    rows: int = 0,
    tokens: int = 0,
    vocabulary: int = 256,
    **said: Any,
) -> Any:
    """Rows of random tokens, as nested tensors, the same at every call.

    Micro-batches are of `tokens` tokens at most (verl's dynamic batches), or of `rows` rows; 0: all rows at once.
    """
    draw = torch.Generator().manual_seed(0)
    drawn = [torch.randint(0, vocabulary, (length,), generator=draw) for length in lengths]

    def nested(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.nested.as_nested_tensor(tensors, layout=torch.jagged)

    return tu.get_tensordict(
        {
            "input_ids": nested(drawn),
            "position_ids": nested([torch.arange(length) for length in lengths]),
            "loss_mask": nested([torch.ones(length, dtype=torch.long) for length in lengths]),
        },
        non_tensor_dict={
            "use_remove_padding": packed,
            "temperature": 1.0,
            "use_dynamic_bsz": tokens > 0,
            "max_token_len_per_gpu": tokens,
            "micro_batch_size_per_gpu": rows or len(lengths),
            "pad_token_id": 257,
            **said,
        },
    )


def loss(model_output: dict[str, torch.Tensor], data: Any, dp_group: object) -> tuple[torch.Tensor, dict[str, float]]:
    """A row counts by its tokens, so the gradient does not depend on which rows share a micro-batch."""
    log_probs = model_output["log_probs"]
    rows = torch.stack([row[:-1].float().sum() for row in log_probs.unbind()])
    return -rows.sum() / 100, {}


def log_probs(built: BaseEngine, *, packed: bool) -> list[list[float]]:
    """Of each row's tokens but the first; the engine's last value a row belongs to the next row's first token."""
    with built.eval_mode():
        rows = built.infer_batch(batch(packed=packed))["model_output"]["log_probs"].unbind()
    return [row[:-1].float().tolist() for row in rows]


def gradient(built: BaseEngine, **how: Any) -> torch.Tensor:
    """The gradient of one update over all rows, all parameters in one vector."""
    with built.train_mode():
        built.optimizer_zero_grad()
        built.forward_backward_batch(batch(**how), loss)
        parts = [parameter.grad.full_tensor().flatten() for parameter in built.module.parameters()]
        return torch.cat(parts).double()


def gradients(model: str) -> dict[str, tuple[float, float]]:
    """Norm of each way's gradient, and of its difference from the padded one.

    The fused loss comes last: verl patches it into the model's class, for every model of the process.
    """
    built = engine(model, exact=True)
    found = {
        "padded": gradient(built, packed=False),
        "padded, one by one": gradient(built, packed=False, rows=1),
        "packed": gradient(built, packed=True),
        "packed by tokens": gradient(built, packed=True, tokens=70),
    }
    fused = engine(model, exact=True, use_fused_kernels=True)
    found["packed, fused loss"] = gradient(fused, packed=True, use_fused_kernels=True)
    return {name: (each.norm().item(), (each - found["padded"]).norm().item()) for name, each in found.items()}


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
    print(json.dumps({"packed": packed, "padded": padded, "moved": moved, "gradients": gradients(model)}))


if __name__ == "__main__":
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    main(sys.argv[1])
