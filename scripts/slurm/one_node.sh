#!/bin/bash
# One node, a process for each of its GPUs:
#   sbatch scripts/slurm/one_node.sh --name mine --config configs/clip_linear.yaml --data.source.root DIR
# For another number of GPUs: sbatch --gpus-per-node=2 --ntasks-per-node=2 …
#SBATCH --job-name=calcarine
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --output=slurm-%x-%j.log
set -euo pipefail
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

# A rank that ends badly ends the step, rather than leave the others waiting.
exec srun --kill-on-bad-exit=1 "${CALCARINE_PYTHON:-.venv/bin/python}" train.py \
  --trainer.strategy ddp --trainer.devices "$SLURM_NTASKS_PER_NODE" "$@"
