# SPDX-License-Identifier: Apache-2.0
"""Plan by formula the GPU memory, host memory, executor calls, USD and trainer seconds of a training step.

A step has three phases, of which the largest must fit with some slack:

    log-probs     weights, and one pass without gradients
    update        weights, gradients, Adam, and the largest moment of a backward pass or Adam's step (gpu_memory.py)
    rollout       gpu_memory_utilization * memory for vLLM (weights 2 P / t; the rest KV cache, 4 L kv / t bytes a
                  token), verl's buffer for new weights, and the trainer's weights and Adam

`param_offload` and `optimizer_offload` move weights and Adam to the host between phases. With `offload_policy` they and
the gradients always are on the host. The reference of a KL term is on the host with FSDP2, and is the model without its
adapters with LoRA.

Calls a run and tokens a call are measured: 520 runs of the 13 nodes of a GSM8K search with a real executor
(recipe/evidence/results/gsm8k_search.json). Other tasks differ, so they are options of `aflow-env plan`. Time is FLOPs
over a share of the card's nominal rate. One run on a shared H100 reached half of this rate (docs/hardware.md).
"""

from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from aflow_env.config import AflowConfig
from aflow_env.llm.prices import PICO, find_price
from aflow_env.training.hardware.gpu_memory import Memory, Update, memory_of
from aflow_env.training.hardware.layout import Architecture

GIB = 2**30
SLACK = 4 * GIB
"""For the CUDA context, NCCL and the allocator's fragments."""
HALF = ("bf16", "bfloat16", "fp16", "float16")
CALLS_A_RUN, PROMPT_TOKENS, REPLY_TOKENS = 2.46, 181, 212
ROW_TOKENS = 716
"""The median training row of searches on generated problems, SIMULATED executor (docs/hardware.md)."""
TFLOPS = 312.0
"""An A100's nominal bf16 rate."""
UTILISATION = 0.35
"""The share of the nominal rate that training, or reading a prompt, is assumed to reach."""
PREDICTIONS = 32
"""Candidates of a round that the policy predicts: most are asked about once and stay open."""
GPU_USD = 2.5
"""Nominal rent of a GPU for an hour."""


@dataclass(frozen=True)
class Plan:
    """Bytes are per GPU, `host` and `loading` per node; rows, tokens and runs are the most that one step can have.

    `offloaded` names those of weights, gradients and Adam that are on the host during the rollout, `host_only` says
    that they always are (`offload_policy`). `flops_a_token`: 2 P for log-probs, 2 P for a reference, and for an update,
    which computes its layers again, 8 P (6 P where only adapters have gradients).
    """

    gpus: int
    tensor_parallel: int
    parameters: int
    memory: int
    training: Memory
    offloaded: frozenset[str]
    host_only: bool
    rollout: int
    rollout_weights: int
    kv_tokens: int
    sync_buffer: int
    host: int
    loading: int
    rows: int
    tokens: int
    evaluations: int
    problem_runs: int
    flops_a_token: int

    @property
    def resident(self) -> int:
        """The trainer's bytes on the GPU during the rollout; gradients are gone by then."""
        kept = self.training.kept
        return sum(kept[name] for name in ("weights", "Adam") if name not in self.offloaded)

    @property
    def phases(self) -> dict[str, int]:
        """The bytes of each phase of a step, without slack."""
        kept, training = self.training.kept, self.training
        on_host = set(kept) if self.host_only else set[str]()
        waiting = 0 if "Adam" in self.offloaded else kept["Adam"]
        during = sum(size for name, size in kept.items() if name not in on_host)
        weights = 0 if "weights" in on_host else kept["weights"]
        step = 0 if self.host_only else training.optimizer
        return {
            "log-probs": weights + waiting + training.log_probs,
            "update": during + max(sum(training.backward.values()), step),
            "rollout": self.resident + self.rollout + self.sync_buffer,
        }

    @property
    def peak(self) -> int:
        """The largest phase, with slack."""
        return max(self.phases.values()) + SLACK

    @property
    def complaints(self) -> list[str]:
        """Why it cannot fit; empty where it can."""
        room, phases, parts = self.memory - SLACK, self.phases, self.training.kept | self.training.backward
        too_large = {
            "update": f"an update needs {_gib(phases['update'])} of {_gib(room)}, most for "
            f"{max(parts, key=lambda name: parts[name])}: use more GPUs, tuning=lora, actor_rollout_ref.actor."
            "fsdp_config.offload_policy=true (all on the host, slow), or a smaller actor_rollout_ref.actor."
            "ppo_max_token_len_per_gpu",
            "log-probs": f"log-probabilities need {_gib(phases['log-probs'])} of {_gib(room)}: use a smaller "
            "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu, actor_rollout_ref.actor."
            "entropy_from_logits_with_chunking=true, or, with a tied output layer, actor_rollout_ref.model."
            "use_fused_kernels=true",
            "rollout": f"the rollout server wants {_gib(self.rollout)} beside {_gib(self.resident)} of the trainer: "
            "lower actor_rollout_ref.rollout.gpu_memory_utilization, or set actor_rollout_ref.actor.fsdp_config."
            "param_offload=true and optimizer_offload=true",
        }
        no_cache = (
            f"the rollout server's share holds the weights ({_gib(self.rollout_weights)}) and no KV cache: raise "
            "actor_rollout_ref.rollout.gpu_memory_utilization or tensor_model_parallel_size"
        )
        return [said for phase, said in too_large.items() if phases[phase] > room] + [no_cache] * (self.kv_tokens <= 0)


def plan(config: DictConfig, aflow: AflowConfig, shape: Architecture, memory: int) -> Plan:
    """Plan a composed training config on GPUs of `memory` bytes."""
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    update = update_of(config)
    training, engine = memory_of(shape, update), actor.fsdp_config
    host_only = bool(engine.offload_policy)
    offloaded = {"weights": engine.param_offload, "gradients": False, "Adam": engine.optimizer_offload}
    gone = frozenset(name for name, away in offloaded.items() if away or host_only)
    tensor_parallel, node = int(rollout.tensor_model_parallel_size), int(config.trainer.n_gpus_per_node)
    share, weights = int(float(rollout.gpu_memory_utilization) * memory), 2 * shape.parameters // tensor_parallel
    reference = update.width * shape.parameters // update.ranks if has_reference(config) and not update.lora_rank else 0
    sessions = int(config.data.train_batch_size * rollout.n)
    rows = sessions * aflow.rounds * (1 + aflow.q.rows)
    evaluations = sessions * (aflow.rounds + 1)
    pool = aflow.task.train_size or aflow.task.validate_size
    return Plan(
        gpus=update.ranks,
        tensor_parallel=tensor_parallel,
        parameters=shape.parameters,
        memory=memory,
        training=training,
        offloaded=gone,
        host_only=host_only,
        rollout=share,
        rollout_weights=weights,
        kv_tokens=(share - weights) * tensor_parallel // (4 * shape.layers * shape.key_value),
        sync_buffer=int(rollout.checkpoint_engine.update_weights_bucket_megabytes) * 2**20,
        host=node * (reference + sum(training.kept[name] for name in gone)),
        loading=update.width * shape.parameters * (node if shape.tied else 1),
        rows=rows,
        tokens=rows * int(config.data.max_prompt_length + config.data.max_response_length),
        evaluations=evaluations,
        problem_runs=evaluations * min(aflow.limit or pool, pool) * aflow.repeats,
        flops_a_token=shape.parameters * (2 + (6 if update.lora_rank else 8) + (2 if has_reference(config) else 0)),
    )


def update_of(config: DictConfig) -> Update:
    """Read the settings of an update from a training config."""
    actor, model, rollout = (config.actor_rollout_ref[name] for name in ("actor", "model", "rollout"))
    dtype = str(OmegaConf.select(actor, "fsdp_config.model_dtype") or "fp32")
    return Update(
        ranks=int(config.trainer.nnodes * config.trainer.n_gpus_per_node),
        width=2 if dtype in HALF else 4,
        tokens=int(actor.ppo_max_token_len_per_gpu),
        log_prob_tokens=int(rollout.log_prob_max_token_len_per_gpu),
        device="cpu" if config.trainer.device == "cpu" else "gpu",
        lora_rank=int(model.lora_rank),
        sdpa=OmegaConf.select(model, "override_config.attn_implementation") == "sdpa",
        fused=bool(model.use_fused_kernels),
        scaled=float(rollout.temperature) != 1.0,
        chunked_entropy=bool(actor.entropy_from_logits_with_chunking),
    )


def has_reference(config: DictConfig) -> bool:
    """Whether rows are also read by the model as it was at the start."""
    return bool(config.actor_rollout_ref.actor.use_kl_loss or config.algorithm.use_kl_in_reward)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


@dataclass(frozen=True)
class Costs:
    """Costs of one step. `usd` and `round_usd` (the executor's of one round) are None without a known price.

    `tokens` are the policy's to train on. `tokens_a_second` counts log-probabilities, reference and update on all GPUs.
    `prediction_usd` is for reading PREDICTIONS questions without a prefix cache.
    """

    calls: int
    usd: float | None
    tokens: int
    tokens_a_second: float
    prediction_usd: float
    round_usd: float | None

    @property
    def seconds(self) -> float:
        """The seconds of a step without the rollout."""
        return self.tokens / self.tokens_a_second


def costs(
    plan: Plan, aflow: AflowConfig, calls: float, prompt: int, reply: int, row: int, tflops: float, gpu_usd: float
) -> Costs:
    """Return the costs for `calls` a problem run, `prompt` and `reply` tokens a call, `row` a training row.

    `tflops` and `gpu_usd` (rent for an hour) are those of one GPU.
    """
    count = round(plan.problem_runs * calls)
    tokens = plan.rows * row
    rate = plan.gpus * tflops * 1e12 * UTILISATION / plan.flops_a_token
    reading = PREDICTIONS * row * 2 * plan.parameters / (tflops * 1e12 * UTILISATION)
    usd, a_round = _usd(aflow, count, prompt, reply), _usd(aflow, count / plan.evaluations, prompt, reply)
    return Costs(count, usd, tokens, rate, reading * gpu_usd / 3600, a_round)


def _usd(aflow: AflowConfig, calls: float, prompt: int, reply: int) -> float | None:
    if aflow.executor.kind in ("policy", "simulated", "table"):
        return 0.0
    price = find_price(aflow.executor, needed=False)
    return None if price is None else calls * price.cost(prompt, reply) / PICO
