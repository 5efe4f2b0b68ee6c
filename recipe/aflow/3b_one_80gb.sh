#!/bin/bash
# Qwen2.5-3B on one 80 GB card. ANTHROPIC_API_KEY must be set. More overrides may follow, e.g. aflow.rl_weight=0.25.
set -euo pipefail
exec python -m verl.trainer.main_ppo --config-name recipe_3b_one_80gb "$@"
