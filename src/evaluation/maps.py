"""Maps that other programs open: a value per target as arrays, on fsaverage as GIfTI, in a volume as NIfTI."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..atomic import replacing
from ..findings import Findings
from ..fsaverage import MESH_VERTICES
from ..names import HEMISPHERES
from ..recording import Grid, Recording
from .layers import layer_depth
from .scores import TargetScores

MAPPED = ("pearson", "r2", "noise_ceiling", "score")
"""Figures of targets that are mapped, where they are known."""


def write_maps(
    folder: Path, subjects: Sequence[tuple[Recording, TargetScores]], findings: Mapping[str, Findings] | None = None
) -> None:
    """Write `maps/` of a run, of each subject whose targets have a place.

    Of fsaverage vertices `{lh,rh}.NAME.gii` and `{lh,rh}.NAME_fsaverage_space.npy`, float32 (163842,), NaN outside,
    and `{lh,rh}.NAME_challenge_space.npy`, one value per target. Of voxels `NAME.nii.gz`, NaN outside. Of several
    subjects NAME begins with the subject's.

    Args:
        folder: The run's `maps/`; it is made where there is something to write.
        subjects: Recordings with their targets' scores in one split.
        findings: What the model found, by subject: where targets read layers, NAME `layer` is how deep.
    """
    for recording, scores in subjects:
        beginning = "" if len(subjects) == 1 else f"{recording.subject}."
        figures = {f"{beginning}{name}": getattr(scores, name) for name in MAPPED}
        depth = layer_depth(findings[recording.subject]) if findings and recording.subject in findings else None
        if depth is not None:
            figures[f"{beginning}layer"] = depth
        figures = {name: values for name, values in figures.items() if not np.isnan(values).all()}
        if recording.vertices is not None:
            _write_surface(folder, recording, recording.vertices, figures)
        if recording.grid is not None:
            for name, values in figures.items():
                _write_volume(folder / f"{name}.nii.gz", recording.grid, values)


def _write_surface(folder: Path, recording: Recording, vertices: np.ndarray, figures: Mapping[str, np.ndarray]) -> None:
    for hemisphere in HEMISPHERES:
        own = recording.hemispheres == hemisphere
        for name, values in figures.items() if own.any() else ():
            challenge = values[own].astype(np.float32)
            full = np.full(MESH_VERTICES[7], np.nan, dtype=np.float32)
            full[vertices[own]] = challenge
            _write_array(folder / f"{hemisphere}.{name}_challenge_space.npy", challenge)
            _write_array(folder / f"{hemisphere}.{name}_fsaverage_space.npy", full)
            _write_gifti(folder / f"{hemisphere}.{name}.gii", full, hemisphere, name)


def _write_array(path: Path, values: np.ndarray) -> None:
    with replacing(path) as temporary:
        np.save(temporary, values)


def _write_gifti(path: Path, values: np.ndarray, hemisphere: str, name: str) -> None:
    from nibabel.gifti.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

    side = {"lh": "CortexLeft", "rh": "CortexRight"}[hemisphere]
    array = GiftiDataArray(
        values, intent="NIFTI_INTENT_NONE", datatype="NIFTI_TYPE_FLOAT32", meta=GiftiMetaData({"Name": name})
    )
    image = GiftiImage(meta=GiftiMetaData({"AnatomicalStructurePrimary": side}), darrays=[array])
    with replacing(path) as temporary:
        image.to_filename(temporary)


def _write_volume(path: Path, grid: Grid, values: np.ndarray) -> None:
    """A volume as NIfTI; where nobody knows how the grid lies in the brain, its header says so."""
    from nibabel.nifti1 import Nifti1Image

    volume = np.full(grid.shape, np.nan, dtype=np.float32)
    volume[tuple(grid.voxels.T)] = values
    image = Nifti1Image(volume, grid.affine)
    if grid.affine is None:
        image.header["descrip"] = b"affine unknown: voxel indices, not mm"
        image.header.set_qform(None, code="unknown")
        image.header.set_sform(None, code="unknown")
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
