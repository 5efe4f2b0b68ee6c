# SPDX-License-Identifier: Apache-2.0
"""A checkpoint callback (verl's `trainer.checkpoint_callback_class`) that asks every rollout replica what it holds.

Beside each checkpoint it leaves `replicas.json`: the token ids of a text, each replica's log-probs of them after the
weights of this very step were synced, and how many requests each replica had answered.
"""

import json
import re
from pathlib import Path
from typing import Any

import httpx
from verl.trainer.ppo.checkpoint_callback import CheckpointCallback

TEXT = "Write a step by step solution. Then review it: is 17 + 25 = 42 right? Answer with one digit.\n"


class AskReplicas(CheckpointCallback):
    """See the module."""

    def on_save(self, trainer: Any, global_step: int, checkpoint_dir: str, **_: Any) -> None:
        """Sync the checkpoint's weights, as verl itself does next, and ask."""
        trainer.checkpoint_manager.update_weights(global_step)
        ids = trainer.tokenizer.encode(TEXT)
        addresses = trainer.llm_server_manager.get_addresses()
        found = {
            "ids": ids,
            "answered": [answered(address) for address in addresses],
            "log_probs": [log_probs(address, ids) for address in addresses],
        }
        (Path(checkpoint_dir) / "replicas.json").write_text(json.dumps(found))


def log_probs(address: str, ids: list[int]) -> list[float]:
    """The replica's log-probs of a text's tokens but the first."""
    model = httpx.get(f"http://{address}/v1/models").json()["data"][0]["id"]
    body = {"model": model, "prompt": ids, "max_tokens": 1, "prompt_logprobs": 0}
    at = httpx.post(f"http://{address}/v1/completions", json=body, timeout=60).raise_for_status().json()
    scored = at["choices"][0]["prompt_logprobs"][1:]
    return [here[str(token)]["logprob"] for here, token in zip(scored, ids[1:], strict=True)]


def answered(address: str) -> float:
    """Requests that the replica has finished."""
    counters = re.findall(
        r"^vllm:request_success_total\{.*\} ([\d.e+]+)$", httpx.get(f"http://{address}/metrics").text, re.M
    )
    return sum(map(float, counters))
