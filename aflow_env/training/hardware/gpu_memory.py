# SPDX-License-Identifier: Apache-2.0
"""The memory of an update on one rank, part by part, by formula: verl 0.9.1's FSDP2 engine on a Qwen2.

For P parameters of b bytes (`fsdp_config.model_dtype`; fp32 unless set), P' of them trained (all, or LoRA's), W ranks,
T tokens in the longest micro-batch, vocabulary V, width h, keys and values kv, MLP width i, u parameters a layer and
E = V h in the embedding:

    kept         weights b P / W, gradients b P' / W, Adam 2 b P' / W
    checkpoints  2 T h L                               the input of each layer, in bf16
    layer        T (28 h + 4 kv + 12 i)                one layer computed again: norms in fp32, the rest in bf16
                 + 3 T^2                               with sdpa: the mask of a packed row, as bool and as bf16
    units        gathered in bf16, gradients in bf16, and those copied to fp32 for the reduction: 8 bytes a parameter
    logits       2 T V, again where temperature is not 1; the loss works in place     on a GPU
                 4 T V                                 on a CPU: logits and log-softmax, row by row
                 24 C V with the fused loss            C = 512 tokens at a time, mostly in fp32
    Adam's step  b P' / W on a GPU (all tensors at once), 2 b max(E, ...) / W on a CPU (one after the other)

A backward pass has three moments (output layer, decoder layer, embedding); the largest counts. docs/hardware.md
compares the formulas with real updates.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from aflow_env.training.hardware.layout import Architecture

FUSED_CHUNK = 512
"""Tokens that verl's fused loss takes at a time."""
ENTROPY_CHUNK = 2048
"""Tokens that verl's chunked entropy takes at a time."""
ROW_OBJECTS = 8 * 1024
"""Bytes a token of autograd's own objects on a CPU with the plain loss; measured (docs/hardware.md)."""


@dataclass(frozen=True)
class Update:
    """The settings that the memory of an update depends on, beside the model's shape.

    `width`: bytes of a stored parameter, of its gradient, and of each of Adam's two moments. Tokens are those of one
    rank. `scaled`: the sampling temperature is not 1.
    """

    ranks: int
    width: int
    tokens: int
    log_prob_tokens: int
    device: Literal["gpu", "cpu"] = "gpu"
    lora_rank: int = 0
    sdpa: bool = False
    fused: bool = False
    scaled: bool = False
    chunked_entropy: bool = False


@dataclass(frozen=True)
class Memory:
    """Bytes of one rank.

    `kept` is weights, gradients and Adam's moments, which live through an update. On top come `backward`, the largest
    moment of a forward and backward pass, and then `optimizer`, Adam's step. `log_probs` comes on top of the weights
    in a pass without gradients.
    """

    kept: dict[str, int]
    backward: dict[str, int]
    optimizer: int
    log_probs: int

    @property
    def peak(self) -> int:
        """The peak of an update."""
        return sum(self.kept.values()) + max(sum(self.backward.values()), self.optimizer)


def memory_of(shape: Architecture, update: Update) -> Memory:
    """Return all parts of an update."""
    trained = shape.adapter_parameters(update.lora_rank) if update.lora_rank else shape.parameters
    stored = shape.parameters + (trained if update.lora_rank else 0)
    kept = {
        "weights": update.width * stored // update.ranks,
        "gradients": update.width * trained // update.ranks,
        "Adam": 2 * update.width * trained // update.ranks,
    }
    largest = shape.embedding_parameters if not update.lora_rank else shape.intermediate * update.lora_rank
    step = update.width * trained if update.device == "gpu" else 2 * update.width * largest
    return Memory(
        kept=kept,
        backward=max(_moments(shape, update), key=lambda moment: sum(moment.values())),
        optimizer=step // update.ranks,
        log_probs=_log_probs(shape, update),
    )


def _moments(shape: Architecture, update: Update) -> Iterator[dict[str, int]]:
    """Yield the three moments of a backward pass: output layer, last decoder layer, embedding."""
    tokens, lora, embedding = update.tokens, bool(update.lora_rank), shape.embedding_parameters
    checkpoints = 2 * tokens * shape.hidden * shape.layers

    gradient = 0 if lora else 2 * embedding * (2 if update.fused else 1)
    each = (4 if update.device == "cpu" else 2) + (2 if update.scaled else 0)
    yield {
        "checkpoints": checkpoints + (tokens**2 if update.sdpa else 0),
        "logits": _fused(shape, tokens) if update.fused else each * tokens * shape.vocabulary,
        "gathered units": 2 * embedding + gradient,
    }

    # The last layer is computed again; its weights and the next layer's are gathered.
    trained = 0 if lora else 6 * shape.layer_parameters
    tied = (2 if lora else 4) * embedding if shape.tied else 0
    objects = ROW_OBJECTS * tokens if update.device == "cpu" and not update.fused else 0
    yield {
        "checkpoints": checkpoints,
        "layer computed again": _layer(shape, update, tokens) + objects,
        "gathered units": 4 * shape.layer_parameters + trained + tied,
    }

    # The embedding's gradient in bf16, its fp32 copy for the reduction, this rank's share.
    yield {"gathered units": int((2 if lora else 6 + 4 / update.ranks) * embedding)}


def _layer(shape: Architecture, update: Update, tokens: int) -> int:
    mask = 3 * tokens**2 if update.sdpa else 0
    return tokens * (28 * shape.hidden + 4 * shape.key_value + 12 * shape.intermediate) + mask


def _fused(shape: Architecture, tokens: int) -> int:
    return 24 * min(FUSED_CHUNK, tokens) * shape.vocabulary


def _log_probs(shape: Architecture, update: Update) -> int:
    tokens = update.log_prob_tokens
    if update.fused:
        logits = _fused(shape, tokens)
    elif update.chunked_entropy:
        logits = (2 * tokens + 12 * min(ENTROPY_CHUNK, tokens)) * shape.vocabulary
    else:
        logits = (6 if update.device == "cpu" else 10) * tokens * shape.vocabulary  # softmax in bf16, or in fp32
    passing = _layer(shape, update, tokens)
    return max(logits + 2 * shape.embedding_parameters, passing + 4 * shape.layer_parameters)
