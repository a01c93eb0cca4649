"""The Algonauts challenges of 2023 and 2021: their scores and their submissions."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Literal, NamedTuple

import numpy as np

from ..atomic import replacing
from ..errors import InputError

_CHUNK_BYTES = 2**24


def noise_normalised(pearson: np.ndarray, noise_ceiling: np.ndarray) -> np.ndarray:
    """Share of the explainable variance that each target's correlation explains, min(max(r, 0)² / NC, 1).

    Args:
        pearson: Correlation of each target (T,), NaN where its response does not vary.
        noise_ceiling: Share of variance (T,), NaN where unknown.

    Returns:
        float64 (T,) from 0 to 1. NaN, to be left out of means, where either is unknown or the ceiling is 0: a tiny
        number in place of 0 would give such a target the full score.
    """
    pearson, noise_ceiling = np.asarray(pearson, np.float64), np.asarray(noise_ceiling, np.float64)
    explainable = np.where(noise_ceiling > 0, noise_ceiling, np.nan)
    return np.minimum(np.square(np.maximum(pearson, 0)) / explainable, 1)


def algonauts2023_score(pearsons: Sequence[np.ndarray], noise_ceilings: Sequence[np.ndarray]) -> float:
    """The challenge's score, pooled over all targets of all hemispheres and subjects (Gifford et al. 2023).

    Args:
        pearsons: Correlations, one (T_i,) per hemisphere or subject.
        noise_ceilings: The same targets' ceilings as a share of variance.

    Returns:
        0 to 100; NaN where no target has both a correlation and a ceiling over 0.
    """
    shares = [noise_normalised(r, ceiling) for r, ceiling in zip(pearsons, noise_ceilings, strict=True)]
    pooled = np.concatenate(shares) if shares else np.empty(0)
    pooled = pooled[~np.isnan(pooled)]
    return 100 * float(pooled.mean()) if len(pooled) else float("nan")


def write_submission_2023(path: Path, predictions: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write the zip that the challenge takes: `subjNN/{lh,rh}_pred_test.npy`, float32 (n_test, n_vertices).

    The same predictions make the same bytes. Arrays are streamed, so memory maps of any size do.

    Args:
        path: The zip.
        predictions: Test predictions (n_test, n_vertices) by subject ("subj01") and hemisphere ("lh", "rh").

    Raises:
        InputError: The hemispheres of a subject disagree in length, or a prediction is not finite.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for subject, hemispheres in sorted(predictions.items()):
            lengths = {hemisphere: len(array) for hemisphere, array in hemispheres.items()}
            if len(set(lengths.values())) > 1:
                raise InputError(f"{path.name}: {subject} needs equally many images per hemisphere, found {lengths}")
            for hemisphere, array in sorted(hemispheres.items()):
                _write_array(archive, f"{subject}/{hemisphere}_pred_test.npy", array)


class Score2021(NamedTuple):
    """The score of the Algonauts 2021 challenge, and over how many voxels it is."""

    score: float
    n_scored: int
    n_unscored: int


def reliability_normalised(pearson: np.ndarray, reliability: np.ndarray) -> np.ndarray:
    """Each voxel's correlation as a share of the highest that its noise admits, r / √reliability.

    Args:
        pearson: Correlation of each voxel (T,), NaN where its response does not vary.
        reliability: Of the same voxels (T,), NaN where unknown.

    Returns:
        float64 (T,), without bounds; NaN, to be counted and left out of means, where either is unknown or the
        reliability is not over 0.
    """
    pearson, reliability = np.asarray(pearson, np.float64), np.asarray(reliability, np.float64)
    return pearson / np.sqrt(np.where(reliability > 0, reliability, np.nan))


def algonauts2021_score(pearsons: Sequence[np.ndarray], reliabilities: Sequence[np.ndarray]) -> Score2021:
    """The challenge's score: the mean over voxels, then over ROIs (Cichy et al. 2021).

    Args:
        pearsons: Correlations, one (T_i,) per ROI and subject: the ROIs of the mini track, or the whole brain of the
            full track, which is one.
        reliabilities: The same voxels' reliabilities.

    Returns:
        The score, NaN where no voxel has one; an ROI without any such voxel is in no mean.
    """
    normalised = [reliability_normalised(*pair) for pair in zip(pearsons, reliabilities, strict=True)]
    known = [values[~np.isnan(values)] for values in normalised]
    n_scored = sum(map(len, known))
    means = [values.mean() for values in known if len(values)]
    return Score2021(float(np.mean(means)) if means else float("nan"), n_scored, sum(map(len, normalised)) - n_scored)


def write_submission_2021(
    folder: Path, track: Literal["mini", "full"], predictions: Mapping[str, Mapping[str, np.ndarray]]
) -> Path:
    """Write the zip that the challenge takes: `mini_track.zip` with `mini_track.pkl`, or the same of the full track.

    The pickle is {ROI: {"sub01": float32 (n_test, n_voxels)}}; in the full track the only ROI is "WB". The same
    predictions make the same bytes.

    Args:
        folder: Where to write it.
        track: The track.
        predictions: Test predictions (n_test, n_voxels) by ROI and subject.

    Returns:
        The zip.

    Raises:
        InputError: ROIs or subjects disagree in the number of videos, a subject lacks a ROI, the full track has other
            ROIs than WB, or a prediction is not finite.
    """
    path = folder / f"{track}_track.zip"
    if track == "full" and set(predictions) != {"WB"}:
        raise InputError(f"{path.name}: the full track takes predictions of WB, found {', '.join(predictions)}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        arrays = {
            roi: {intern(subject): np.ascontiguousarray(array, dtype="<f4") for subject, array in sorted(own.items())}
            for roi, own in sorted(predictions.items())
        }
    _check_2021(path.name, arrays)
    # NumPy 2 writes the name of a module that older releases lack. In protocol 3 the name stands once, as text, before
    # the first array.
    content = pickle.dumps(arrays, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry(f"{track}_track.pkl"), content)
    return path


def _check_2021(name: str, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Check that all ROIs have the same subjects and numbers of videos, and finite predictions."""
    first = next(iter(arrays))
    videos = {subject: len(array) for subject, array in arrays[first].items()}
    for roi, own in arrays.items():
        lengths = {subject: len(array) for subject, array in own.items()}
        if lengths != videos or len(set(lengths.values())) != 1:
            raise InputError(
                f"{name}: expected predictions of every subject for equally many videos in every ROI, found {videos} "
                f"in {first} and {lengths} in {roi}"
            )
        for subject, array in own.items():
            faulty = int((~np.isfinite(array)).any(axis=1).sum())
            if faulty:
                raise InputError(
                    f"{name}: every prediction must be a finite number, found others in {faulty} of {len(array)} "
                    f"videos for {roi} of {subject}; the training diverged, try a lower learning rate"
                )


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry of a zip that is the same whenever it is written: its default time is fixed, 1980."""
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o644 << 16
    return info


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """Stream an array (n, V) into the archive as a float32 `.npy`."""
    header = {"descr": "<f4", "fortran_order": False, "shape": array.shape}
    rows = max(_CHUNK_BYTES // (4 * max(array.shape[1], 1)), 1)
    with archive.open(_entry(name), "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(array), rows):
            block = np.ascontiguousarray(array[start : start + rows], dtype="<f4")
            if not np.isfinite(block).all():
                raise InputError(
                    f"{name}: every prediction must be a finite number, found {block[~np.isfinite(block)][0]} in test "
                    f"images {start + 1} to {start + len(block)}; the training diverged, try a lower learning rate"
                )
            file.write(block.tobytes())
