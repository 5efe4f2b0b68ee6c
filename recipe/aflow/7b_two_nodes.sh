#!/bin/bash
# Qwen2.5-7B on two nodes, on the one where `ray start --head` ran (README.md). ANTHROPIC_API_KEY must be set. More overrides may follow, e.g. aflow.rl_weight=0.25.
set -euo pipefail
exec python -m verl.trainer.main_ppo --config-name recipe_7b_two_nodes "$@"
