#!/bin/bash
# Qwen2.5-Coder-0.5B on a part of one 80 GB card, after `0_5b_executor.sh` has another part. More overrides may follow.
set -euo pipefail
exec python -m verl.trainer.main_ppo --config-name recipe_0_5b_one_80gb "$@"
