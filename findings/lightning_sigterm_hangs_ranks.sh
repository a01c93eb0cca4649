#!/usr/bin/env bash
# lightning: SIGTERM makes a run on several ranks hang, until the time-out of its collectives (half an hour on gloo).
#
# Guess: as in one process, SIGTERM ends the training after its step.
# So it is: the signal's handler calls torch.distributed.broadcast, wherever the rank is. Ranks that are at different
#   collectives then wait for each other: `kill`, `timeout`, `docker stop` and a scheduler's preemption leave a run that
#   holds its GPUs until it is killed by SIGKILL.
# Do: replace the handler (trainer._signal_connector._sigterm_notifier_fn) by one that raises KeyboardInterrupt.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" lightning==2.6.6 torch==2.15.0 numpy==2.3.5
cd "$folder"
cat > two.py <<'EOP'
import logging
import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(512, 512)

    def training_step(self, batch, index):
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


class Started(Callback):
    def on_train_batch_end(self, trainer, *others):
        if trainer.global_step == 50:
            Path(sys.argv[1]).touch()


quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=-1, callbacks=[Started()], **quiet)
trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(4096, 512), batch_size=64))
EOP
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'EOP'
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

hung = 0
for attempt in range(3):  # now and then both ranks happen to be at the same collective
    started = Path(f"started{attempt}")
    run = subprocess.Popen([sys.executable, "-W", "ignore", "two.py", str(started)], start_new_session=True)
    while not started.exists():
        assert run.poll() is None
        time.sleep(0.1)
    run.terminate()
    try:
        run.wait(30)
    except subprocess.TimeoutExpired:
        hung += 1
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    if hung:
        break
print("lightning", version("lightning"), f"SIGTERM: {hung} of {attempt + 1} runs of two ranks had not ended after 30 s")
assert hung
EOP
