#!/bin/bash
# sbatch --array=1-$(wc -l < commands.txt) scripts/slurm_array.sh: each job runs the line of commands.txt that has its
# number in the array; docs/tracking.md says how commands.txt is made.
#SBATCH --job-name=udal
#SBATCH --gres=gpu:1
#SBATCH --signal=TERM@120
#SBATCH --requeue
eval "exec $(sed -n "${SLURM_ARRAY_TASK_ID}p" commands.txt)"
