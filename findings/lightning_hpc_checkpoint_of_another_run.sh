#!/usr/bin/env bash
# lightning: in a SLURM job, `fit` and `test` take any hpc_ckpt_N.ckpt of the working directory for their own.
#
# Guess: `trainer.test(model)` tests the model that it is given; `ckpt_path=None` loads nothing.
# So it is: where SLURM's variables are set and `default_root_dir` (the working directory, unless it is given) holds an
#   hpc_ckpt_N.ckpt, both load it: what a requeued job left there, of whichever run. With other sizes it raises; with the
#   same sizes the other run's weights are trained on and tested, and a line of the log alone says so. A job array shares
#   its working directory.
# Do: give each run a default_root_dir of its own, or remove the file once it has been used.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" lightning==2.6.6 torch==2.15.0 numpy==2.3.5
cd "$folder"
export SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_JOB_ID=77 SLURM_JOB_NAME=another
"$folder/venv/bin/python" -W ignore - <<'EOP'
import logging
from importlib.metadata import version

import torch
from lightning.pytorch import LightningModule, Trainer

for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


class Constant(LightningModule):
    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(float(value)))

    def test_step(self, batch, index):
        self.log("value", self.value)


def trainer():
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(accelerator="cpu", devices=1, **quiet)


stimuli = torch.utils.data.DataLoader(torch.ones(2, 1))
first = trainer()
first.test(Constant(1), stimuli, verbose=False)
first.save_checkpoint("hpc_ckpt_1.ckpt")  # as the handler of SIGUSR1 does
(tested,) = trainer().test(Constant(2), stimuli, verbose=False)
print("lightning", version("lightning"), "given 2, tested", tested["value"])
assert tested["value"] == 1
EOP
