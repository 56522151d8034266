#!/usr/bin/env bash
# All GPUs of this machine; each batch is split among them: scripts/all_gpus.sh --dataset=cifar10lt --imbalance=100
set -euo pipefail
exec "${PYTHON:-python}" "$(dirname "$0")/../run.py" --strategy=mirrored "$@"
