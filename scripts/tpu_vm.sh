#!/usr/bin/env bash
# On a Cloud TPU VM, with `pip install -e ".[tpu]"` done: scripts/tpu_vm.sh --dataset=cifar10lt --imbalance=100
# A VM that may be taken away trains into a bucket: --workdir=gs://bucket/run; the same command resumes on another VM.
# Views are made on the TPU; images that fit into its memory may lie there, too, with --input=device.
# --batch_size must be a multiple of the number of cores (8 on a v3-8), as the paper's 64 is.
set -euo pipefail
exec "${PYTHON:-python}" "$(dirname "$0")/../run.py" --tpu=local "$@"
