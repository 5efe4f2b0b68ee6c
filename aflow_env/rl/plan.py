# SPDX-License-Identifier: Apache-2.0
"""What a training run will need of each GPU and of the executor, by formula, before anything is started.

Nothing here was measured on a GPU. Counted per GPU, in bytes, for P parameters over W = nnodes * n_gpus_per_node ranks
(FSDP2, everything sharded), b bytes a parameter (`fsdp_config.model_dtype`, fp32 unless set), T tokens a micro-batch:

    weights b P / W, gradients b P / W, Adam 2 b P / W
    gathered 2 * 2 * (parameters of the largest unit)         two units in bf16: the one in use and the next
    checkpoints 2 T h L, and the layer that is computed again 2 T (8 h + 2 kv + 4 intermediate)
    logits 10 T V                                             bf16, fp32, and the fp32 gradient
    reference weights b P / W                                 with a KL term
    rollout: gpu_memory_utilization * memory, of it weights 2 P / t, the rest KV cache: 4 L kv / t bytes a token

Off-loaded parts (`param_offload`, `optimizer_offload`) are on the GPU in their own phase only. Left out: the
allocator's slack, NCCL's buffers (a few GiB: see `SLACK`), LoRA (then gradients and Adam shrink to the adapters).
"""

from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from aflow_env.config import AflowConfig
from aflow_env.rl.architecture import Architecture

GIB = 2**30
SLACK = 4 * GIB
"""For the CUDA context, NCCL and fragmentation."""


@dataclass(frozen=True)
class Plan:
    """Bytes are per GPU; tokens and calls are upper bounds of one training step."""

    gpus: int
    tensor_parallel: int
    parameters: int
    training: dict[str, int]
    resident: int
    rollout: int
    rollout_weights: int
    kv_tokens: int
    rows: int
    tokens: int
    evaluations: int
    problem_runs: int
    memory: int

    @property
    def peak(self) -> int:
        """The larger of the two phases, with slack."""
        return max(sum(self.training.values()), self.resident + self.rollout) + SLACK

    @property
    def complaints(self) -> list[str]:
        """Why it cannot fit; empty where it can."""
        found = []
        training = sum(self.training.values()) + SLACK
        if training > self.memory:
            largest = max(self.training, key=lambda name: self.training[name])
            found.append(
                f"training needs {training / GIB:.1f} GiB of {self.memory / GIB:.0f}, most for {largest}: use "
                "more GPUs, actor_rollout_ref.actor.fsdp_config.optimizer_offload=true, or a smaller "
                "actor_rollout_ref.actor.ppo_max_token_len_per_gpu"
            )
        if self.resident + self.rollout + SLACK > self.memory:
            found.append(
                f"the rollout server wants {self.rollout / GIB:.1f} GiB beside {self.resident / GIB:.1f} GiB of the "
                "trainer: lower actor_rollout_ref.rollout.gpu_memory_utilization, or set "
                "actor_rollout_ref.actor.fsdp_config.param_offload=true and optimizer_offload=true"
            )
        if self.kv_tokens <= 0:
            found.append(
                f"the rollout server's share holds the weights ({self.rollout_weights / GIB:.1f} GiB) and no KV cache: "
                "raise actor_rollout_ref.rollout.gpu_memory_utilization or tensor_model_parallel_size"
            )
        return found


def plan(config: DictConfig, aflow: AflowConfig, shape: Architecture, memory: int) -> Plan:
    """The plan of a composed training config on GPUs of `memory` bytes."""
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    gpus = int(config.trainer.nnodes * config.trainer.n_gpus_per_node)
    tensor_parallel = int(rollout.tensor_model_parallel_size)
    training = training_bytes(config, shape, gpus)
    offloaded = actor.fsdp_config
    resident = (0 if offloaded.param_offload else training["weights"]) + (
        0 if offloaded.optimizer_offload else training["Adam"]
    )
    share = int(float(rollout.gpu_memory_utilization) * memory)
    weights = 2 * shape.parameters // tensor_parallel
    token = 4 * shape.layers * shape.key_value // tensor_parallel
    sessions = int(config.data.train_batch_size * rollout.n)
    value_rows = aflow.q.samples if aflow.q.kind == "digits" and aflow.q.train else 0
    rows = sessions * aflow.rounds * (1 + value_rows)
    evaluations = sessions * (aflow.rounds + 1)
    problems = aflow.limit or aflow.task.train_size or aflow.task.validate_size
    return Plan(
        gpus=gpus,
        tensor_parallel=tensor_parallel,
        parameters=shape.parameters,
        training=training,
        resident=resident,
        rollout=share,
        rollout_weights=weights,
        kv_tokens=(share - weights) // token,
        rows=rows,
        tokens=rows * int(config.data.max_prompt_length + config.data.max_response_length),
        evaluations=evaluations,
        problem_runs=evaluations * problems * aflow.repeats,
        memory=memory,
    )


def training_bytes(config: DictConfig, shape: Architecture, gpus: int) -> dict[str, int]:
    """Each part of an update, by name."""
    actor = config.actor_rollout_ref.actor
    dtype = str(OmegaConf.select(actor, "fsdp_config.model_dtype") or "fp32")
    width = 2 if dtype in ("bf16", "bfloat16", "fp16", "float16") else 4
    shard = width * shape.parameters // gpus
    tokens = int(actor.ppo_max_token_len_per_gpu)
    unit = max(shape.layer_parameters, shape.embedding_parameters)
    again = 2 * tokens * (8 * shape.hidden + 2 * shape.key_value + 4 * shape.intermediate)
    has_reference = actor.use_kl_loss or config.algorithm.use_kl_in_reward
    return {
        "weights": shard,
        "gradients": shard,
        "Adam": 2 * shard,
        "gathered units": 4 * unit,
        "activations": 2 * tokens * shape.hidden * shape.layers + again,
        "logits": 10 * tokens * shape.vocabulary,
        "reference": shard if has_reference else 0,
    }
