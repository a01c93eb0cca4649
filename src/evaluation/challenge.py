"""The Algonauts 2023 challenge: its score and its submission."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

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


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """Stream an array (n, V) into the archive as a float32 `.npy`."""
    header = {"descr": "<f4", "fortran_order": False, "shape": array.shape}
    info = zipfile.ZipInfo(name)  # its default time is fixed, 1980
    info.external_attr = 0o644 << 16
    rows = max(_CHUNK_BYTES // (4 * max(array.shape[1], 1)), 1)
    with archive.open(info, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(array), rows):
            block = np.ascontiguousarray(array[start : start + rows], dtype="<f4")
            if not np.isfinite(block).all():
                raise InputError(
                    f"{name}: every prediction must be a finite number, found {block[~np.isfinite(block)][0]} in test "
                    f"images {start + 1} to {start + len(block)}; the training diverged, try a lower learning rate"
                )
            file.write(block.tobytes())
