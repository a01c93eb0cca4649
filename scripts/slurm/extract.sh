#!/bin/bash
# Fills the embedding cache with all GPUs of some nodes, ahead of trainings that then need none of it:
#   sbatch --nodes=2 scripts/slurm/extract.sh --config configs/clip_linear.yaml --data.source.root DIR
# The processes divide the images. What a job that was ended has computed stays: the same command goes on.
#SBATCH --job-name=calcarine-extract
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%j.log
set -euo pipefail
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

exec srun --kill-on-bad-exit=1 "${CALCARINE_PYTHON:-.venv/bin/python}" -m calcarine encode \
  --trainer.strategy ddp --trainer.devices "$SLURM_NTASKS_PER_NODE" --trainer.num_nodes "$SLURM_NNODES" "$@"
