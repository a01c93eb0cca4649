"""Predictions of a folder of images as files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..atomic import whole_folder
from ..data.stimuli import list_images
from ..errors import InputError
from ..models.targets import targets_table
from ..package.files import check_free
from ..run.needs import tell_predictions
from .trained import Decoded, load_model


def predict_folder(
    path: Path,
    images: Path,
    rois: Sequence[str] | None,
    subject: str | None,
    batch_size: int | None,
    out: Path,
) -> None:
    """Write `predictions.npy` (images, targets), `stimuli.csv` and `targets.csv`, which name its axes.

    Args:
        path: A run's folder, a package or a checkpoint.
        images: A folder of images, or one image.
        rois: Predict the targets of any of these; without, all.
        subject: Predict this subject's targets; without, all.
        batch_size: Images at a time; without, as many as in training.
        out: Folder to write; new or empty.

    Raises:
        InputError: A folder, a model, a ROI or an image is not what it has to be; nothing is written then.
    """
    if not images.exists():
        raise InputError(f"--images {images}: expected a folder of images, or one, found none; correct the path")
    check_free(out, images, path)
    files = list_images(images) if images.is_dir() else [images]
    model = load_model(path)
    chosen = [model.module.targets(subject, roi) for roi in rois or [None]]
    columns = torch.cat(chosen).unique()
    kind = np.float32 if model.module.facts.offset is None else np.float64
    tell_predictions(out, len(files) * len(columns) * np.dtype(kind).itemsize, in_memory=False)
    with whole_folder(out) as partial:
        written = np.lib.format.open_memmap(
            partial / "predictions.npy", mode="w+", dtype=kind, shape=(len(files), len(columns))
        )
        done = 0
        with tqdm(total=len(files), desc="predicting", unit="image") as progress:
            for predicted in model.module.predictions(Decoded(files), columns, batch_size):
                written[done : done + len(predicted)] = predicted.numpy()
                done += len(predicted)
                progress.update(len(predicted))
        written.flush()
        pd.DataFrame({"stimulus": [file.name for file in files]}).to_csv(partial / "stimuli.csv", index=False)
        targets_table(model.module.facts, columns).to_csv(partial / "targets.csv", index=False)
    print(f"{out}: predictions of {len(files)} images for {len(columns)} targets")  # noqa: T201 what the command answers
