#!/bin/bash
# Several nodes, a process for each of their GPUs; a job whose time is over goes back into the queue and goes on:
#   sbatch --nodes=4 scripts/slurm/several_nodes.sh --name mine --config configs/resnet50_finetuned.yaml …
# Needs a --name of its own, by which the next start finds the run, and a disk that all nodes share: the data, cache/ and
# runs/ lie there.
#SBATCH --job-name=calcarine
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%j.log
# To the processes themselves, two minutes ahead of the end: rank 0 has the job queued again. No "B:", which would signal
# this script alone.
#SBATCH --signal=USR1@120
set -euo pipefail
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

case " $* " in *" --name"*) ;; *) echo "several_nodes.sh: expected --name NAME, found none" >&2; exit 2 ;; esac
# last_or_new: the first start begins the run, every other goes on with it.
exec srun --kill-on-bad-exit=1 "${CALCARINE_PYTHON:-.venv/bin/python}" train.py \
  --trainer.strategy ddp --trainer.devices "$SLURM_NTASKS_PER_NODE" --trainer.num_nodes "$SLURM_NNODES" \
  --ckpt_path last_or_new "$@"
