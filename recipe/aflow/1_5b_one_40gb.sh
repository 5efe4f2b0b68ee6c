#!/bin/bash
# Qwen2.5-1.5B on one 40 GB card. ANTHROPIC_API_KEY must be set. More overrides may follow, e.g. aflow.rl_weight=0.25.
set -euo pipefail
exec python -m verl.trainer.main_ppo --config-name recipe_1_5b_one_40gb "$@"
