"""One worker's session in a study: everything is checked and made ready once, then trials run, then it is concluded."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from jsonargparse import ArgumentParser, Namespace
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..atomic import replacing
from ..evaluation.scores import ALL, BOTH
from ..evaluation.tables import read_scores
from ..names import VALIDATION
from ..results.run_folder import SCORES
from ..run.cli import build_cli
from ..run.flags import parse_flags
from ..run.folder import folder_of
from ..run.stages import run
from .ledger.attributes import PER_ROI, REFIT
from .ledger.queue import Queue
from .ledger.storage import Storage, file_lock
from .outcome.report import write_report
from .outcome.results import BEST, TRIALS, best_of, check_any_complete, complete_of, show_progress, write_trials
from .per_roi import RoiRows, assemble
from .search.options import Options
from .trial import Trials, check_one_device
from .worker import work

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Session:
    """A worker in a study that stands.

    Args:
        options: What was asked for.
        parser: Of `train.py`'s flags.
        study: As Optuna sees it.
        storage: Where it is kept.
        trials: Runs one.
        queue: Where they come from.
        rows: Each ROI's best rows, where a model shall be made of them.
    """

    options: Options
    parser: ArgumentParser
    study: optuna.Study
    storage: Storage
    trials: Trials
    queue: Queue
    rows: RoiRows | None = None
    written: int | None = field(default=None, init=False)
    """Number of the trial that best.yaml holds."""

    @property
    def folder(self) -> Path:
        return self.options.folder

    def run(self) -> None:
        """Run trials, then conclude; each worker in its turn, so that a kill or a later trial leaves nothing out."""
        self.search()
        with file_lock(self.folder / ".conclude.lock"):
            self.conclude()
        check_any_complete(self.study)

    def conclude(self) -> None:
        """Make a run of the best trial and a model of each ROI's best rows, and report."""
        self.write()
        self.refit()
        try:
            self.assemble()
        finally:  # rows that another machine has kept are no reason to withhold the rest
            write_report(self.folder, self.study, self.trials.space, self.options.args)

    def search(self) -> None:
        """Run trials until there are as many as were asked for."""
        with _frozen(), logging_redirect_tqdm(), self._progress() as progress:

            def after() -> None:
                self.write()
                show_progress(self.study, progress)

            after()
            try:
                work(self.queue, self.trials, self.options.timeout, after)
            finally:
                self.write()

    def write(self) -> None:
        """Bring the study's folder up to date."""
        with file_lock(self.folder / ".write.lock"):  # or what one worker knew before would replace what another knows
            self._write()

    def _write(self) -> None:
        write_trials(self.folder / TRIALS, self.study, list(self.trials.space.parameters))
        best = best_of(self.study)
        if best is None or best.number == self.written:
            return
        config = parse_flags(self.parser, self.trials.flags(optuna.trial.FixedTrial(best.params)))
        check_one_device(config.trainer)
        config.name = f"{self.options.study}/best"
        with replacing(self.folder / BEST) as partial:
            head = f"# Trial {best.number} of study {self.options.study}: validation correlation {best.value}\n"
            partial.write_text(head + as_yaml(self.parser, config), encoding="utf-8")
        self.written = best.number

    def refit(self) -> None:
        """Make the best trial a run of `train.py`, unless it is one already."""
        best = best_of(self.study)
        number, folder = self.study.user_attrs.get(REFIT, (None, ""))
        if best is None or (number == best.number and (Path(folder) / SCORES).exists()):
            return
        cli = build_cli(["--config", str(self.folder / BEST)])
        run(cli)
        folder = folder_of(cli.trainer)
        self.study.set_user_attr(REFIT, [best.number, str(folder)])
        own_rows = [row for row in read_scores(folder / SCORES) if (row.hemisphere, row.roi) == (BOTH, ALL)]
        figures = [row.pearson_mean for row in own_rows if row.split == VALIDATION]
        if len(figures) == 1 and figures[0] != best.value:  # several subjects have a row each, and one figure
            log.warning("trial %d came to %s, and its run %s to %s", best.number, best.value, folder, figures[0])

    def assemble(self) -> None:
        """Make one model of each ROI's best rows, unless it stands; nothing where it was not asked for."""
        best, complete = best_of(self.study), complete_of(self.study)
        known = self.study.user_attrs.get(PER_ROI, {})
        standing = known.get("trials") == len(complete) and (Path(known["folder"]) / SCORES).exists()
        if self.rows is not None and best is not None and not standing:
            cli = build_cli(["--config", str(self.folder / BEST), "--name", f"{self.options.study}/{PER_ROI}"])
            assemble(self.study, best, complete, cli, self.rows)

    def _progress(self) -> tqdm:
        return tqdm(total=self.options.trials, desc=self.options.study, unit="trial", disable=self.options.member)


def as_yaml(parser: ArgumentParser, config: Namespace) -> str:
    """A whole config as YAML, for `train.py --config`."""
    with warnings.catch_warnings(action="ignore"):  # newer releases of jsonargparse call the argument otherwise
        return parser.dump(config, skip_none=False)


@contextmanager
def _frozen() -> Iterator[None]:
    """Leave what stands now out of the search for garbage after each trial: it is a million objects, all in use."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
