"""What a study costs over its trials' bare training: wall time of 20 trials on SQLite over the sum of their fits.

Each trial is also fitted bare: its flags through the same command line, and Lightning's `fit` alone under the clock.
Both run in turn in one process, so that a busy machine slows them alike. The study's time is all the rest from the
first trial to the last: parsing, making objects, reports to the storage, pruning, heartbeats, predictions and scores of
the held-out splits, TensorBoard, `trials.csv` and `best.yaml`. The best trial's run at the end is printed by itself: it
is one more training, with its figures and report.

    uv run benchmarks/tune.py [--trials 20] [--epochs 60]

Epochs are fixed, so that trials take 5 s or more, and nothing is pruned.

Measured on 4 cores that others used too, one thread: +7.9 % for 14 trials of 5.8 s, on a busier machine +5.1 % for 8 of
12.6 s and +11.4 % for 6 of 5.7 s. The study's own work is about 0.45 s of a quiet processor a trial, however long the
trial: 0.18 s predictions and scores, 0.17 s the command line, 0.06 s `trials.csv` and `best.yaml`, the rest the storage
and garbage.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, field

from calcarine.run.main import quieten
from calcarine.study.opening import open_session
from calcarine.study.search.options import parse
from calcarine.study.trial import TrialCLI, Trials, quiet
from calcarine.study.worker import TrialOutcome
from optuna import Trial
from side_by_side import row


@dataclass
class Compared(Trials):
    """Fits each trial's flags bare before the study's own trial."""

    bare: list[float] = field(default_factory=list)
    """Seconds of each bare fit."""
    apart: float = 0.0
    """Seconds that were not the study's."""

    def __call__(self, trial: Trial) -> TrialOutcome:
        start = time.perf_counter()
        with quiet():
            cli = TrialCLI(self.flags(trial), "bare", trial.number, self.modules)
            begin = time.perf_counter()
            cli.trainer.fit(cli.model, cli.datamodule)
            self.bare.append(time.perf_counter() - begin)
        self.apart += time.perf_counter() - start
        return super().__call__(trial)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        quieten()
        flags = [f"--trials={options.trials}", "--pruner=none", f"--trainer.max_epochs={options.epochs}"]
        start = time.perf_counter()
        session = open_session(parse([*flags, f"--early_stopping.patience={options.epochs}"]))
        opened = time.perf_counter() - start
        trials = session.trials = Compared(**vars(session.trials))
        start = time.perf_counter()
        session.search()
        study = time.perf_counter() - start - trials.apart
        start = time.perf_counter()
        session.refit()
        refit = time.perf_counter() - start
        os.chdir("/")
    total, count = sum(trials.bare), len(trials.bare)
    print(f"opening the study, embeddings included  {opened:8.1f} s")
    print(f"{count:2} trials, bare training               {total:8.1f} s  ({total / count:.1f} s each)")
    print(f"the study of them                       {study:8.1f} s  (overhead {study / total - 1:+.1%})")
    print(f"the best once more, as a run            {refit:8.1f} s")
    row("A study over its trials' bare training", study / total, "≤ 1.1")


if __name__ == "__main__":
    main()
