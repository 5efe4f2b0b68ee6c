# SPDX-License-Identifier: Apache-2.0
"""A few training steps by verl's FSDP2 engine over gloo, as one rank of several, and the parameters that came of it.

`python -m tests.training.verl_patches.cpu.ranks MODEL FOLDER RANK WORLD` trains on this rank's part of the rows, the
loss a mean over the tokens of all ranks, and saves what this rank gathers of the shards, the first gradient and the
parameters, as FOLDER/RANK-of-WORLD.pt.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from verl.utils import tensordict_utils as tu

from tests.training.verl_patches.cpu import packed


def loss(model_output: dict[str, torch.Tensor], data: Any, dp_group: object) -> tuple[torch.Tensor, dict[str, float]]:
    """Scaled so that the mean over ranks is the mean over all ranks' tokens, as verl's own losses are.

    Without each row's last value, which belongs to whatever row comes next.
    """
    rows = [row[:-1].sum() for row in model_output["log_probs"].unbind()]
    return -torch.stack(rows).sum() * data["dp_size"] / data["batch_num_tokens"], {}


def main(model: str, folder: Path, rank: int, world: int) -> None:
    torch.manual_seed(0)
    meeting = torch.distributed.FileStore(str(folder / f"meeting-of-{world}"), world)
    torch.distributed.init_process_group("cpu:gloo", store=meeting, rank=rank, world_size=world)
    built = packed.engine(model, exact=True)
    part = tu.chunk_tensordict(packed.batch(packed=True), world)[rank]
    tu.assign_non_tensor(part, micro_batch_size_per_gpu=len(part))
    with built.train_mode():
        built.optimizer_zero_grad()
        built.forward_backward_batch(part.copy(), loss)
        gradient = [parameter.grad.full_tensor().flatten() for parameter in built.module.parameters()]
        for _ in range(3):
            built.train_batch(part.copy(), loss)
    parameters = [parameter.full_tensor().flatten() for parameter in built.module.parameters()]
    found = {"gradient": torch.cat(gradient), "parameters": torch.cat(parameters).detach()}
    torch.save(found, folder / f"{rank}-of-{world}.pt")
    torch.distributed.barrier()


if __name__ == "__main__":
    model, folder, rank, world = sys.argv[1:]
    os.environ.update(RANK=rank, WORLD_SIZE=world, LOCAL_RANK=rank, LOCAL_WORLD_SIZE=world)
    main(model, Path(folder), int(rank), int(world))
