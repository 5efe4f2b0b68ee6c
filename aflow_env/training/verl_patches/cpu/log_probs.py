# SPDX-License-Identifier: Apache-2.0
"""Log-probabilities of packed rows by chunks of tokens.

Mends verl 0.9.1: without flash-attention's kernel it takes the log-softmax of a packed row token by token, forward and
backward, which is most of the tiny policy's update. The numbers are the same; a chunk bounds the memory as a token did.
"""

from types import ModuleType

import torch

from aflow_env.training.verl_patches.cpu.versions import require_known

CHUNK = 512


def by_chunks(torch_functional: ModuleType) -> None:
    """Patch `verl.utils.torch_functional`, which calls the function by its name there."""
    require_known("verl")
    torch_functional.logprobs_from_logits_v2 = log_probs  # type: ignore[attr-defined]


def log_probs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each label; of shape (tokens,) or (rows, tokens), as the labels."""
    flat = zip(torch.split(logits.flatten(0, -2), CHUNK), torch.split(labels.flatten(), CHUNK), strict=True)
    return torch.cat([_chunk(*each) for each in flat]).view(labels.shape)


def _chunk(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """As verl: logsumexp saves memory, and bfloat16 is too coarse for the difference."""
    places = labels_N.unsqueeze(-1)
    if logits_NV.dtype in (torch.float32, torch.float64):
        return logits_NV.gather(-1, places).squeeze(-1) - logits_NV.logsumexp(-1)
    return logits_NV.log_softmax(-1).gather(-1, places).squeeze(-1)
