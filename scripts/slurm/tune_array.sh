#!/bin/bash
# A study by workers on any number of machines: each task is a worker that joins and leaves as the queue has it.
#   export CALCARINE_STORAGE=postgresql://USER@HOST/DB        # the password in ~/.pgpass
#   sbatch --array=0-15 scripts/slurm/tune_array.sh --study mine --config X.yaml --search Y.yaml --trials 400
# --trials counts those of the study, of all workers together. Fill the cache first (extract.sh), or the first worker
# does while the others wait.
#SBATCH --job-name=calcarine-tune
#SBATCH --array=0-15
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%A_%a.log
set -euo pipefail
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

: "${CALCARINE_STORAGE:?expected a URL such as postgresql://USER@HOST/DB, found none}"
# A trial whose worker is taken away is queued again by the others, and the task that is requeued is a new worker.
exec srun "${CALCARINE_PYTHON:-.venv/bin/python}" tune.py --storage "$CALCARINE_STORAGE" --workers 1 "$@"
