"""Training of a stack's members: K times without a fold, which they then predict, and once on all."""

from __future__ import annotations

import gc
import json
import logging
import shutil
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerStatus

from ..atomic import replacing
from ..data.datamodule import EncodingDataModule
from ..data.digests import digest_bytes
from ..ensemble.moments import Moments
from ..ensemble.partitioning import partition
from ..ensemble.stacking import learn
from ..errors import InputError
from ..findings import SHARED, Findings
from ..models import StackedModule
from ..models.encoding import EncodingModule
from ..models.regression.gram import assign_folds
from ..names import FOLD, TRAIN
from ..results.prediction_files import FOLDER, centred, folder_of_subject
from ..tensor_file import read_tensors
from .folder import EpochSeed, HistoryWriter, RunLogger, folder_of
from .predictions import PredictionWriter

MEMBERS = "members"
"""Folder inside the run's, with a folder for each member and in it one for each of its trainings."""
_DONE, _WEIGHTS = "done.json", "weights.ckpt"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Training:
    """One training of a member.

    Args:
        member: Its name.
        name: Of the training, and of its folder.
        fold: Positions that are held out and predicted, ascending, int64 (n,); none in the last training.
        seed: Of the weights that it starts from, and of the order of its batches.
    """

    member: str
    name: str
    fold: np.ndarray
    seed: int


def trained_members(folder: Path) -> int:
    """Trainings of members that a run's folder holds."""
    return sum(1 for _ in (folder / MEMBERS).glob(f"*/*/{_DONE}"))


def check_one_process(trainer: Trainer, model: EncodingModule) -> None:
    """Refuse what would start other processes, where the model is a stack.

    Raises:
        InputError: The trainer has several.
    """
    if isinstance(model, StackedModule) and trainer.world_size > 1:
        raise InputError(
            f"--trainer.devices {trainer.num_devices}, --trainer.num_nodes {trainer.num_nodes}: expected one process, "
            f"in which StackedModule trains its members, found {trainer.world_size}; set --trainer.devices 1, or train "
            "the members as runs and combine them with `calcarine ensemble --stack`"
        )


class MemberTraining(Callback):
    """Trains the members of a stack before its own epoch, and weights them; nothing where the model is another.

    Each training is kept in the run's folder until the run is whole, so a run that was killed goes on with those that
    it had (--ckpt_path last).

    Args:
        seed: The run's.
        settings: All that a training depends on beside the data, in words.
    """

    def __init__(self, seed: int, settings: str) -> None:
        self.seed = seed
        self.settings = settings

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, StackedModule) or pl_module.findings is not None:
            return
        data = EncodingDataModule.of(trainer)
        if getattr(trainer, "fast_dev_run", False):
            self._rehearse(trainer, pl_module, data)
            return
        folder = folder_of(trainer)
        folds = _deal(data, pl_module.folds)
        for index, name in enumerate(pl_module.given):
            for training in self._trainings(name, index, folds):
                self._train(trainer, pl_module, data, training, folder)
            weights = read_tensors(folder / MEMBERS / name / "whole" / _WEIGHTS)
            pl_module.take_member(name, weights)
        found = [_weigh(pl_module, data, folder, index, folds) for index in range(len(data.recordings))]
        pl_module.findings = Findings.joined(found)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The run's checkpoint is written: what was kept of the members is in it."""
        if isinstance(pl_module, StackedModule) and not getattr(trainer, "fast_dev_run", False):
            for done in (folder_of(trainer) / MEMBERS).glob(f"*/*/{_DONE}"):
                _forget(done.parent)

    def _trainings(self, name: str, index: int, folds: Sequence[np.ndarray]) -> list[_Training]:
        """Without each fold, and on all."""
        nothing = np.empty(0, dtype=np.int64)
        parts = [*((f"fold_{number}", fold) for number, fold in enumerate(folds, 1)), ("whole", nothing)]
        return [
            _Training(name, part, fold, _seed(self.seed, index, number)) for number, (part, fold) in enumerate(parts)
        ]

    def _train(
        self, trainer: Trainer, stack: StackedModule, data: EncodingDataModule, training: _Training, run: Path
    ) -> None:
        """Train once, unless that was done; keep predictions of the fold, or the weights."""
        folder = run / MEMBERS / training.member / training.name
        identity = self._identity(data, training)
        if _is_done(folder, identity):
            log.info("member %s, %s: trained already", training.member, _said(training))
            return
        shutil.rmtree(folder, ignore_errors=True)
        gc.collect()  # an earlier training's trainer and model hold each other, and the GPU's memory
        start = time.monotonic()
        logger = RunLogger(f"{MEMBERS}/{training.member}", training.name, run)
        own = _trainer(trainer, stack, training, [HistoryWriter(), PredictionWriter()], logger)
        model, part = _fit(own, stack, data, training)
        if len(training.fold):
            own.test(model, part, verbose=False)
        else:
            with replacing(folder / _WEIGHTS) as partial:
                own.save_checkpoint(partial, weights_only=True)
        logger.finalize("success")
        with replacing(folder / _DONE) as partial:
            partial.write_text(json.dumps({"identity": identity}))
        log.info("member %s, %s: %.1f s", training.member, _said(training), time.monotonic() - start)

    def _identity(self, data: EncodingDataModule, training: _Training) -> str:
        """Hash of what a training has to have in common with one that was done."""
        parts = [data.identity, self.settings, training.member, training.fold.tolist(), training.seed]
        return digest_bytes(json.dumps(parts).encode())

    def _rehearse(self, trainer: Trainer, stack: StackedModule, data: EncodingDataModule) -> None:
        """One batch of each member; all count alike."""
        for index, name in enumerate(stack.given):
            training = self._trainings(name, index, [])[-1]
            own = _trainer(trainer, stack, training, [], logger=False)
            model, _ = _fit(own, stack, data, training)
            stack.take_member(name, {"state_dict": model.state_dict()})
        stack.findings = Findings()


def _deal(data: EncodingDataModule, count: int) -> list[np.ndarray]:
    """Positions of the training stimuli in each fold: of each subject as many in all, to a few.

    All stimuli that show one image, to whomever, are in one.
    """
    positions, digests = data.positions(TRAIN), np.asarray(data.table.digests())
    images = np.unique(digests[positions], return_inverse=True)[1]
    shown = np.zeros((images.max() + 1, len(data.recordings)), dtype=bool)
    shown[images, data.table.subject[positions]] = True
    seen_by = np.unique(shown, axis=0, return_inverse=True)[1]
    fold = assign_folds(
        len(positions), count, data.facts.seed, torch.from_numpy(images), torch.from_numpy(seen_by)
    ).numpy()
    return [positions[fold == number] for number in range(count)]


def _trainer(
    outer: Trainer, stack: StackedModule, training: _Training, callbacks: Sequence[Callback], logger: RunLogger | bool
) -> Trainer:
    """A trainer as the run's own, for one training of a member."""
    member = stack.given[training.member]
    device: torch.device = outer.strategy.root_device
    return Trainer(
        accelerator="cpu" if device.type == "cpu" else device.type,
        devices=1 if device.index is None else [device.index],
        precision=outer.precision,
        max_epochs=member.max_epochs or outer.max_epochs,
        callbacks=[EpochSeed(training.seed), *callbacks, *deepcopy(member.callbacks)],
        logger=logger,
        fast_dev_run=bool(getattr(outer, "fast_dev_run", False)),
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=outer.default_root_dir,
    )


def _fit(
    own: Trainer, stack: StackedModule, data: EncodingDataModule, training: _Training
) -> tuple[EncodingModule, EncodingDataModule]:
    """The trained model, and the data that it was trained on."""
    try:
        torch.manual_seed(training.seed)
        model = stack.new_member(training.member)
        part = data.part(stack.stacked.layers[training.member], training.fold, training.seed)
        own.fit(model, part)
    except InputError as error:
        raise InputError(f"member {training.member}: {error}") from error
    except SystemExit:
        if own.state.status == TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt from None
        raise
    return model, part


def _weigh(
    stack: StackedModule, data: EncodingDataModule, run: Path, recording: int, folds: Sequence[np.ndarray]
) -> Findings:
    """Give the stack its weights for one recording's targets, learnt from the predictions of all folds."""
    targets = data.targets_of(recording)
    origin = data.facts.response_mean[targets].double().numpy()
    parts = []
    for number, fold in enumerate(folds, 1):
        own = fold[data.table.subject[fold] == recording]
        if not len(own):  # images are dealt, not subjects
            continue
        predictions = [_predicted(run, name, number, data, recording) for name in stack.given]
        parts.append(Moments.of(predictions, data.table.respond(recording, own), origin))
    if len(parts) < 2:
        raise InputError(
            f"--model.folds {len(folds)}: expected training stimuli of {data.recordings[recording].subject} in two "
            f"folds at least, found {len(parts)}; leave the subject out, or take another --seed_everything"
        )
    combination = learn(parts, origin)
    stack.combine(targets, combination.weights, combination.intercept)
    assert combination.pull is not None
    found = partition(parts, combination.pull)
    log.info(
        "%s: mean weights %s, pull %g",
        data.recordings[recording].subject,
        ", ".join(f"{name} {w:.2f}" for name, w in zip(stack.given, combination.weights.mean(1), strict=True)),
        combination.pull,
    )
    return Findings(
        cv_r2=_plain(found.whole),
        member_weight=_by_member(stack, combination.weights),
        member_r2=_by_member(stack, found.alone),
        unique_member_r2={**_by_member(stack, found.unique), SHARED: _plain(found.shared)},
    )


def _predicted(run: Path, member: str, number: int, data: EncodingDataModule, recording: int) -> np.ndarray:
    """Predictions of a fold's stimuli that are one recording's, less the responses' offset, (n, T)."""
    of, count = data.recordings[recording], len(data.recordings)
    name, subject = FOLD if of.responses.offset is None else centred(FOLD), of.subject
    folder = folder_of_subject(run / MEMBERS / member / f"fold_{number}" / FOLDER, subject, count)
    predicted = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    if not np.isfinite(predicted).all():
        raise InputError(f"member {member}: expected finite predictions, found others; its training diverged")
    return predicted


def _by_member(stack: StackedModule, values: np.ndarray) -> dict[str, np.ndarray]:
    return {name: _plain(each) for name, each in zip(stack.given, values, strict=True)}


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def _seed(*parts: int) -> int:
    """A seed that torch and numpy take, another one for other parts."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _said(training: _Training) -> str:
    return f"without fold {training.name.removeprefix('fold_')}" if len(training.fold) else "on the training split"


def _is_done(folder: Path, identity: str) -> bool:
    try:
        known: Any = json.loads((folder / _DONE).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(known, dict) and known.get("identity") == identity


def _forget(folder: Path) -> None:
    """Remove what a training was kept for; its curves stay."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    for name in (_DONE, _WEIGHTS):
        (folder / name).unlink(missing_ok=True)
