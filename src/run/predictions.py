"""A run's predictions of held-out stimuli: written by all ranks, read by recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ..batch import Batch
from ..data.datamodule import EncodingDataModule
from ..names import IMAGE_ALONE
from ..npy import create_array
from ..recording import Recording
from ..results.prediction_files import FOLDER, centred, folder_of_subject, stimuli_file, write_stimuli
from .folder import folder_of


def by_recording(
    data: EncodingDataModule, split: str, predictions: Path, in_units: bool = False
) -> Iterator[tuple[Recording, np.ndarray, np.ndarray]]:
    """For each recording with stimuli in a split: itself, the stimuli's indices, and the predictions of its targets.

    Predictions are less the responses' offset, as what they are compared with is, unless the recording's units are
    asked for.
    """
    for recording, stimuli in zip(data.recordings, data.table.of_each_recording(split), strict=True):
        if len(stimuli):
            folder = folder_of_subject(predictions, recording.subject, len(data.recordings))
            name = split if in_units or recording.responses.offset is None else centred(split)
            yield recording, stimuli, np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)


class PredictionWriter(Callback):
    """Writes each subject's `SPLIT.npy` (n_stimuli, n_targets) into `predictions/`, each rank its own rows of one file.

    Where responses have an offset that float32 cannot hold beside their spread, `SPLIT_centred.npy` holds the
    predictions without it. Of a model with inputs beside the image, `image_alone/predictions/` hold likewise what it
    predicts with their training mean in their place.

    Args:
        image_alone: Write these too, where there are any.
    """

    def __init__(self, image_alone: bool = True) -> None:
        self.image_alone = image_alone

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = EncodingDataModule.of(trainer)
        self.tables = list(self._tables(data, "prediction", folder_of(trainer) / FOLDER))
        if data.facts.beside and self.image_alone:
            self.tables += self._tables(data, IMAGE_ALONE, folder_of(trainer) / IMAGE_ALONE / FOLDER)
        if trainer.is_global_zero:
            for table in self.tables:
                table.folder.mkdir(parents=True, exist_ok=True)
                shape = (len(table.positions), data.recordings[table.recording].num_targets)
                for path in table.partial.values():
                    array = create_array(path, np.dtype(np.float32), shape)
                    array.fill(np.nan)
                    array.flush()
        trainer.strategy.barrier()
        for table in self.tables:
            for name, path in table.partial.items():
                table.arrays[name] = np.lib.format.open_memmap(path, mode="r+")

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
        wanted = (data.evaluated[dataloader_idx], batch.subject)
        for table in (each for each in self.tables if (each.split, each.recording) == wanted):
            rows = np.searchsorted(table.positions, batch.stimulus.cpu().numpy())
            prediction = outputs[table.output].float().cpu().numpy()
            offset = data.recordings[batch.subject].responses.offset
            table.arrays[table.split][rows] = prediction if offset is None else prediction + offset
            if offset is not None:
                table.arrays[centred(table.split)][rows] = prediction

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = EncodingDataModule.of(trainer)
        for table in self.tables:
            for array in table.arrays.values():
                array.flush()
            table.arrays.clear()
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            for table in self.tables:
                for name, path in table.partial.items():
                    path.replace(table.folder / f"{name}.npy")
                recording, stimuli = data.recordings[table.recording], data.locate(table.positions)[1]
                names = recording.stimuli.names
                named = ((names[int(index)], recording.subject) for index in stimuli)
                write_stimuli(table.folder / stimuli_file(table.split), named)
        trainer.strategy.barrier()

    def _tables(self, data: EncodingDataModule, output: str, predictions: Path) -> Iterator[_Table]:
        for (index, recording), split in product(enumerate(data.recordings), data.evaluated):
            positions = data.table.positions_of(index, split)
            if len(positions):
                folder = folder_of_subject(predictions, recording.subject, len(data.recordings))
                names = [split] if recording.responses.offset is None else [split, centred(split)]
                partial = {name: folder / f"{name}.npy.partial" for name in names}
                yield _Table(folder, output, split, index, positions, partial)


@dataclass
class _Table:
    """What is written of one subject and split.

    Args:
        folder: Where.
        output: What of the model's outputs.
        split: Such as "test".
        recording: As `Batch.subject`.
        positions: Of the stimuli, int64 (n_stimuli,).
        partial: Files that are being written, by the name that they will have.
        arrays: What lies in them, by the same, each (n_stimuli, n_targets).
    """

    folder: Path
    output: str
    split: str
    recording: int
    positions: np.ndarray
    partial: Mapping[str, Path]
    arrays: dict[str, np.memmap] = field(default_factory=dict)
