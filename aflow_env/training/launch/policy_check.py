# SPDX-License-Identifier: Apache-2.0
"""Check that a policy can answer a search's questions: folder, vocabulary, chat template, digits.

No check depends on the architecture. A hub name is checked once it is downloaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from omegaconf import DictConfig
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.training.rollout.policy import digit_token_ids

KEY = "actor_rollout_ref.model.path"
SAMPLE = [{"role": "system", "content": "rules"}, {"role": "user", "content": "question"}]
"""The roles of every question that a policy is asked."""


def check_policy(config: DictConfig, aflow: AflowConfig) -> None:
    """Raise ConfigError that names the key, the value and the fix."""
    node = config.actor_rollout_ref.model
    path = str(node.path)
    folder = Path(path).expanduser()
    on_hub = not folder.is_dir() and path.count("/") == 1 and not path.startswith((".", "/", "~"))
    if not folder.is_dir() and not on_hub:
        raise ConfigError(
            f"{KEY}={path}: there is no such folder; give a Hugging Face folder or hub name, or make a small policy by "
            "`aflow-env model tiny --out DIR`"
        )
    where, known = path if on_hub else str(folder), {"trust_remote_code": bool(node.get("trust_remote_code", False))}
    try:
        model = AutoConfig.from_pretrained(where, local_files_only=True, **known)
        tokenizer = AutoTokenizer.from_pretrained(node.tokenizer_path or where, local_files_only=True, **known)
    except (OSError, ValueError) as error:
        if on_hub:
            return
        raise ConfigError(f"{KEY}={path} does not load: {str(error).splitlines()[0]}") from error
    if len(tokenizer) > model.vocab_size:
        raise ConfigError(
            f"{KEY}={path}: the tokenizer has {len(tokenizer)} tokens and the model {model.vocab_size}: they do not "
            "belong together"
        )
    tokenizer.chat_template = node.custom_chat_template or tokenizer.chat_template
    digits = aflow.q.kind == "policy"
    check_chat(tokenizer, path, config.data.apply_chat_template_kwargs, digits)
    if digits:
        digit_token_ids(tokenizer)


def check_chat(tokenizer: PreTrainedTokenizerBase, path: str, template: Mapping[str, Any], digits: bool) -> None:
    """Check that the chat template takes a system and a user message, and lets the policy answer at once.

    `template` has its other arguments. With `digits` the first token of an answer must be free to be a digit. Raises
    ConfigError.
    """
    if not tokenizer.chat_template:
        raise ConfigError(
            f"{KEY}={path}: the tokenizer has no chat template, which every prompt needs; use an instruction-tuned "
            "model (...-Instruct), or give one: actor_rollout_ref.model.custom_chat_template"
        )
    try:
        tokenizer.apply_chat_template(SAMPLE, add_generation_prompt=True, tokenize=False, **template)
    except TemplateError as error:
        raise ConfigError(
            f"{KEY}={path}: its chat template refuses a system message followed by a user message ({error}), which is "
            "how every question is put; give one that takes both: actor_rollout_ref.model.custom_chat_template"
        ) from error
    if digits and "enable_thinking" in str(tokenizer.chat_template) and template.get("enable_thinking") is not False:
        raise ConfigError(
            f"{KEY}={path}: its chat template lets the model think before it answers, and q.kind=policy reads the "
            "prediction off the first token of an answer; set +data.apply_chat_template_kwargs.enable_thinking=false"
        )
