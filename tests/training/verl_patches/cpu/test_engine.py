# SPDX-License-Identifier: Apache-2.0
"""Log-probabilities by chunks are verl's own, to the last bit, and so is their gradient."""

import pytest

pytest.importorskip("verl", reason="needs verl: make setup")
import torch
from verl.utils import torch_functional

from aflow_env.training.verl_patches.cpu.engine import CHUNK, log_probs


def token_by_token(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """verl 0.9.1's `logprobs_from_logits_v2` on a packed row."""
    rows = []
    for row, label in zip(logits, labels, strict=True):
        exact = row.dtype == torch.float32
        rows.append(row[label] - torch.logsumexp(row, -1) if exact else torch.log_softmax(row, -1)[label])
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("tokens", [1, CHUNK, 2 * CHUNK + 3])
def test_values_and_gradients_are_those_of_one_token_after_the_other(tokens: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(tokens, 97, generator=draw).to(dtype)
    labels = torch.randint(97, (tokens,), generator=draw)
    weights = torch.randn(tokens, generator=draw)
    found = []
    for way in (token_by_token, log_probs):
        leaf = logits.clone().requires_grad_()
        values = way(leaf, labels)
        (values.float() * weights).sum().backward()
        assert leaf.grad is not None
        found.append((values.detach(), leaf.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_padded_rows_keep_their_shape() -> None:
    logits, labels = torch.randn(3, 5, 11), torch.randint(11, (3, 5))
    assert torch.allclose(log_probs(logits, labels), logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0])


def test_verl_calls_it() -> None:
    """The plugin put it under the name that verl calls; a verl that calls another one fails here."""
    from aflow_env import plugin

    if plugin.has_gpu():
        pytest.skip("the CPU parts are inactive on a machine with a GPU")
    assert torch_functional.logprobs_from_logits_v2 is log_probs
    logits, labels = torch.randn(4, 7), torch.randint(7, (4,))
    if not torch_functional.FLAH_ATTN_CROSS_ENTROPY_LOSS_AVAILABLE:
        assert torch.equal(torch_functional.logprobs_from_logits(logits, labels), log_probs(logits, labels))
