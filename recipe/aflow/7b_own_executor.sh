#!/bin/bash
# Qwen2.5-7B on cards 0 to 3, after `executor.sh MODEL` has the other four. More overrides may follow.
set -euo pipefail
CUDA_VISIBLE_DEVICES=0,1,2,3 exec python -m verl.trainer.main_ppo --config-name recipe_7b_own_executor "$@"
