#!/bin/bash
# Qwen2.5-7B on eight 80 GB cards. ANTHROPIC_API_KEY must be set. More overrides may follow, e.g. aflow.rl_weight=0.25.
set -euo pipefail
exec python -m verl.trainer.main_ppo --config-name recipe_7b_eight_80gb "$@"
