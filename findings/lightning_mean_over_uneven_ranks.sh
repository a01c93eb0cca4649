#!/usr/bin/env bash
# lightning: a mean that is logged with batch_size=n and sync_dist=True is wrong where ranks have unequal n (gloo).
#
# Guess: the epoch's mean is weighted by the batch sizes of all ranks, so that the mean of ones is one.
# So it is: the weights' sum is a whole number, whose mean over the ranks is rounded down to one: of 45 and 44 it is 44,
#   while the values' sum is divided by 2 exactly. The mean is 1.0114.
# Do: give the batch size as a float, or log a torchmetrics.MeanMetric.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" lightning==2.6.6 torch==2.15.0 numpy==2.3.5
cd "$folder"
cat > two.py <<'EOP'
import logging
from importlib.metadata import version

import torch
from lightning.pytorch import LightningModule, Trainer

for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


class Ones(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, index):
        size = 45 - self.global_rank
        self.log("whole", torch.tensor(1.0), on_epoch=True, on_step=False, batch_size=size, sync_dist=True)
        self.log("float", torch.tensor(1.0), on_epoch=True, on_step=False, batch_size=float(size), sync_dist=True)
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, **quiet)
trainer.fit(Ones(), torch.utils.data.DataLoader(torch.ones(2, 1)))
if trainer.is_global_zero:
    found = {name: round(float(value), 4) for name, value in trainer.callback_metrics.items()}
    print("lightning", version("lightning"), found)
    assert found == {"whole": 1.0114, "float": 1.0}
EOP
"$folder/venv/bin/python" -W ignore two.py
