#!/bin/bash
# The model that runs the workflows of 0_5b_one_80gb.sh, on the same card: 0_5b_executor.sh [MODEL].
set -euo pipefail
exec vllm serve "${1:-Qwen/Qwen2.5-Coder-0.5B-Instruct}" --served-model-name executor --port 8000 --max-model-len 4096 \
    --gpu-memory-utilization 0.35 --max-num-seqs 512 -cc '{"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"}'
