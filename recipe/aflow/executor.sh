#!/bin/bash
# The second model, on cards 4 to 7: executor.sh MODEL, e.g. Qwen/Qwen2.5-32B-Instruct.
set -euo pipefail
CUDA_VISIBLE_DEVICES=4,5,6,7 exec vllm serve "$1" --served-model-name executor --tensor-parallel-size 4 --port 8000
