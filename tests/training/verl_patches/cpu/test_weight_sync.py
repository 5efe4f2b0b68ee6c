# SPDX-License-Identifier: Apache-2.0
"""After a weight sync through verl's own sender, a real vLLM CPU engine samples from the trainer's weights."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2ForCausalLM

from tests.training.verl_patches.cpu import toy

pytestmark = pytest.mark.real
PROMPTS = [list(range(start, start + 12)) for start in (3, 60, 120, 180)]


@contextmanager
def engine(folder: Path, *, tied: bool) -> Iterator[Any]:
    """A vLLM engine on the toy model, as verl starts it: bf16, eager, mp executor, our worker extension."""
    toy.write(folder, tied=tied)
    from vllm import LLM

    llm = LLM(
        model=str(folder / "model"),
        dtype="bfloat16",
        enforce_eager=True,
        max_model_len=128,
        max_num_seqs=8,
        worker_extension_cls="aflow_env.training.verl_patches.cpu.weights.CpuWorkerExtension",
        logprobs_mode="processed_logprobs",
        disable_log_stats=True,
    )
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()


def sync(llm: Any, model: Qwen2ForCausalLM) -> None:
    """Send the model's weights as verl's rollout adapter does: in buckets, over shared memory, to an RPC that waits."""
    from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightSender

    receive = threading.Thread(
        target=llm.collective_rpc, args=("update_weights_from_ipc",), kwargs={"kwargs": {"use_shm": True}}
    )
    receive.start()
    job = os.environ["VERL_RAY_JOB_ID"]
    sender = BucketedWeightSender(f"ipc:///tmp/rl-colocate-zmq-{job}-replica-0-rank-0.sock", 1, use_shm=True)
    asyncio.run(sender.async_send_weights(iter(model.state_dict().items())))
    receive.join(timeout=30)
    assert not receive.is_alive()
    llm.reset_prefix_cache()


def log_probs(llm: Any, model: Qwen2ForCausalLM) -> tuple[np.ndarray, np.ndarray]:
    """Log-probs of sampled tokens: (by the engine that sampled them, by the training model under bf16 autocast)."""
    from vllm import SamplingParams

    parameters = SamplingParams(temperature=1.0, max_tokens=24, logprobs=0, ignore_eos=True, seed=1)
    rollout, training = [], []
    for prompt, output in zip(
        PROMPTS, llm.generate([{"prompt_token_ids": p} for p in PROMPTS], parameters, use_tqdm=False), strict=True
    ):
        sampled = output.outputs[0]
        rollout += [step[token].logprob for token, step in zip(sampled.token_ids, sampled.logprobs, strict=True)]
        ids = torch.tensor([[*prompt, *sampled.token_ids]])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            logits = model(ids).logits.float()
        scores = torch.log_softmax(logits, -1)[0, len(prompt) - 1 : -1]
        training += scores[torch.arange(len(sampled.token_ids)), torch.tensor(sampled.token_ids)].tolist()
    return np.array(rollout), np.array(training)


def correlation(pair: tuple[np.ndarray, np.ndarray]) -> float:
    return float(np.corrcoef(*pair)[0, 1])


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_rollout_follows_the_trainer_through_changed_weights(
    tied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import verl  # noqa: F401  (the plugin gives this process the CPU platform)

    monkeypatch.setenv("VERL_RAY_JOB_ID", f"test-{os.getpid()}")
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    with engine(tmp_path, tied=tied) as llm:
        vocab = len(toy.tokenizer())
        for seed in (11, 12):
            model = toy.model(vocab, tied=tied, seed=seed)
            sync(llm, model)
            rollout, training = log_probs(llm, model)
            assert correlation((rollout, training)) > 0.99
            assert np.abs(rollout - training).mean() < 0.05  # bf16: 8 bits of mantissa, log-probs around -4
        if tied:
            # The engine's worker lives in this process, so the repack can be taken away from under it.
            monkeypatch.setattr("aflow_env.training.verl_patches.cpu.weights.repack_heads", lambda model: None)
            model = toy.model(vocab, tied=True, seed=13)
            sync(llm, model)
            assert correlation(log_probs(llm, model)) < 0.9, "the control cannot tell a stale head from a fresh one"
