#!/bin/bash
# Runs the line of commands.txt that has the number of this job in its array; see docs/tracking.md.
#SBATCH --job-name=udal
#SBATCH --gres=gpu:1
#SBATCH --signal=TERM@120
#SBATCH --requeue
eval "exec $(sed -n "${SLURM_ARRAY_TASK_ID}p" commands.txt)"
