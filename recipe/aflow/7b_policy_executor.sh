#!/bin/bash
# Qwen2.5-7B on eight 80 GB cards, and the same model runs the workflows: no key, no other server.
set -euo pipefail
exec python -m verl.trainer.main_ppo --config-name recipe_7b_policy_executor "$@"
