#!/usr/bin/env bash
# One GPU of this machine: scripts/one_gpu.sh --dataset=cifar10lt --imbalance=100. GPU=1 selects the second one.
set -euo pipefail
CUDA_VISIBLE_DEVICES="${GPU:-0}" exec "${PYTHON:-python}" "$(dirname "$0")/../run.py" --strategy=one_device "$@"
