#!/bin/bash
# The tiny policy trained on GSM8K on one GPU: gpu_tiny.sh GSM8K [MORE OVERRIDES], GSM8K with train, validate and test.jsonl.
# recipe/aflow/0_5b_executor.sh runs beside it.
set -euo pipefail
gsm8k=$1
shift
exec python -m verl.trainer.main_ppo --config-name aflow_gigpo \
    'actor_rollout_ref.model.path=${aflow_tiny_policy:}' aflow/task=gsm8k aflow.task.path="$gsm8k" \
    aflow.task.train_size=1000 aflow.task.validate_size=40 aflow.task.test_size=100 \
    aflow/executor=vllm aflow.executor.model=executor aflow.executor.max_tokens=512 aflow.executor.accept_empty=true \
    aflow.executor.send_seed=false aflow.executor.concurrency=256 \
    aflow.rounds=4 aflow.limit=24 aflow.failed_cases=0 aflow.experience_entries=4 aflow.state_characters=1200 \
    aflow.sandbox.workers=6 \
    data.train_batch_size=4 data.max_prompt_length=768 data.max_response_length=64 \
    actor_rollout_ref.model.use_fused_kernels=false \
    actor_rollout_ref.actor.ppo_mini_batch_size=4 actor_rollout_ref.actor.use_kl_loss=false \
    actor_rollout_ref.actor.optim.lr=5.0e-4 \
    actor_rollout_ref.rollout.n=4 actor_rollout_ref.rollout.max_model_len=1024 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.1 actor_rollout_ref.rollout.enforce_eager=true \
    trainer.nnodes=1 trainer.n_gpus_per_node=1 trainer.total_training_steps=20 trainer.save_freq=5 \
    trainer.val_before_train=false trainer.test_freq=-1 "trainer.logger=[console]" "$@"
