"""A run's predictions of held-out stimuli: written by all ranks, read by recording."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ..batch import Batch
from ..data.datamodule import EncodingDataModule
from ..npy import create_array
from ..recording import Recording
from ..results.prediction_files import FOLDER, centred, stimuli_file, write_stimuli
from .folder import folder_of


def by_recording(
    data: EncodingDataModule, split: str, predictions: Path, in_units: bool = False
) -> Iterator[tuple[Recording, np.ndarray, np.ndarray]]:
    """For each recording with stimuli in a split: itself, the stimuli's indices, and the predictions of its targets.

    Predictions are less the responses' offset, as what they are compared with is, unless the recording's units are
    asked for.
    """
    name = split if in_units or data.offset is None else centred(split)
    predicted = np.load(predictions / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    recording_of, stimuli = data.locate(data.positions(split))
    for index in np.unique(recording_of):
        rows = np.flatnonzero(recording_of == index)  # recordings follow each other, so these are contiguous
        block = predicted[rows[0] : rows[-1] + 1, data.targets_of(index)]
        yield data.recordings[index], stimuli[rows], block


class PredictionWriter(Callback):
    """Writes `predictions/SPLIT.npy` (n_stimuli, num_targets), each rank its own rows of one file.

    With several subjects, a stimulus's row is NaN at the targets of the others. Where responses have an offset that
    float32 cannot hold beside their spread, `SPLIT_centred.npy` holds the predictions without it.
    """

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = EncodingDataModule.of(trainer)
        self.folder = folder_of(trainer) / FOLDER
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, split in _files(data).items():
                shape = (len(data.positions(split)), data.num_targets)
                array = create_array(self._partial(name), np.dtype(np.float32), shape)
                array.fill(np.nan)
                array.flush()
        trainer.strategy.barrier()
        self.arrays = {name: np.lib.format.open_memmap(self._partial(name), mode="r+") for name in _files(data)}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(outputs, Mapping)
        data = EncodingDataModule.of(trainer)
        split = data.evaluated[dataloader_idx]
        positions = batch.stimulus.cpu().numpy()
        rows = np.searchsorted(data.positions(split), positions)
        prediction = outputs["prediction"].float().cpu().numpy()
        recording_of, _ = data.locate(positions)
        for recording in np.unique(recording_of):
            own, targets = recording_of == recording, data.targets_of(recording)
            if data.offset is None:
                self.arrays[split][rows[own], targets] = prediction[own, targets]
            else:
                self.arrays[split][rows[own], targets] = prediction[own, targets] + data.offset[targets]
                self.arrays[centred(split)][rows[own], targets] = prediction[own, targets]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = EncodingDataModule.of(trainer)
        for array in self.arrays.values():
            array.flush()
        self.arrays.clear()
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            for name in _files(data):
                self._partial(name).replace(self.folder / f"{name}.npy")
            for split in data.evaluated:
                self._write_stimuli(data, split)
        trainer.strategy.barrier()

    def _partial(self, name: str) -> Path:
        return self.folder / f"{name}.npy.partial"

    def _write_stimuli(self, data: EncodingDataModule, split: str) -> None:
        located = zip(*data.locate(data.positions(split)), strict=True)
        named = ((data.recordings[recording], index) for recording, index in located)
        write_stimuli(self.folder / stimuli_file(split), ((of.stimuli.names[index], of.subject) for of, index in named))


def _files(data: Any) -> dict[str, str]:
    """The split that each file of predictions is of."""
    files = {split: split for split in data.evaluated}
    return files if data.offset is None else files | {centred(split): split for split in data.evaluated}
