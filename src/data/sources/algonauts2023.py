"""Algonauts2023: the challenge's tree of Natural Scenes Dataset responses on fsaverage vertices.

Gifford et al. 2023, "The Algonauts Project 2023 Challenge: how the human brain makes sense of natural scenes".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import InputError
from ...fsaverage import MESH_VERTICES, mesh_at_level, pial_file, read_surface
from ...names import HEMISPHERES, TEST, UNASSIGNED, WITHHELD
from ...recording import Part, Recording
from ..arrays import check_finite, open_array
from ..noise_ceiling import read_noise_ceiling
from ..offsets import measured
from ..stimuli import ImageFiles, list_images
from .algonauts2023_rois import read_labels, read_rois
from .base import Source, subject_numbers

Hemisphere = Literal["lh", "rh"]

_LAYOUT = "subjNN/{training_split,test_split,roi_masks}"


class Algonauts2023(Source):
    """Reads the Algonauts 2023 tree: `ROOT/subj01` … `subj08`.

    Where the tree has responses to the test images they are the test split; otherwise those images are withheld,
    and predicted for the submission. Training images are left to the seeded split.

    Args:
        root: The folder that holds `subj01` and so on.
        subject: One subject's number, or a list of several.
        hemisphere: One hemisphere; both where not given.
        noise_ceiling: A folder that holds `subj01/lh.npy`, `subj01/rh.npy` and so on, per cent or fraction of
            variance, one value per vertex in challenge space.
        surface: Where fsaverage's vertices lie in mm: a folder that holds `lh.pial` and `rh.pial` (FreeSurfer's
            `subjects/fsaverage/surf`) or `pial_left.gii.gz` and `pial_right.gii.gz` (nilearn's fsaverage), or one
            file per hemisphere, the left first. Where not given, the vertices beyond fsaverage5's are put at the
            middle of the edges that they split, which is about 0.3 mm off.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: There is no such subject, or its training responses are missing.
    """

    layout = "subjNN/training_split"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return any(root.glob("subj[0-9][0-9]/training_split"))

    def __init__(
        self,
        root: Path,
        subject: int | list[int] = 1,
        hemisphere: Hemisphere | None = None,
        noise_ceiling: Path | None = None,
        surface: Path | list[Path] | None = None,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        self.root = Path(root)
        self.noise_ceiling = None if noise_ceiling is None else Path(noise_ceiling)
        numbers = subject_numbers(subject)
        hemispheres: tuple[Hemisphere, ...] = (hemisphere,) if hemisphere else HEMISPHERES
        self.folders = [self._folder(number) for number in numbers]
        self.hemispheres = hemispheres
        self.surfaces = self._surfaces(surface)
        self._num_targets = sum(SubjectTree(folder, hemispheres).num_targets for folder in self.folders)

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def read(self) -> Sequence[Recording]:
        places: dict[Hemisphere, np.ndarray] = {
            hemisphere: read_surface(self.surfaces[hemisphere]) if self.surfaces else mesh_at_level(hemisphere, 7)[1]
            for hemisphere in self.hemispheres
        }
        return [SubjectTree(folder, self.hemispheres).read(self.noise_ceiling, places) for folder in self.folders]

    def _surfaces(self, surface: Path | list[Path] | None) -> dict[Hemisphere, Path]:
        """The surface file of each hemisphere; empty where none was given."""
        if surface is None:
            return {}
        files = [Path(path) for path in (surface if isinstance(surface, list) else [surface])]
        if len(files) == 1 and not files[0].is_file():
            return {hemisphere: pial_file(files[0], hemisphere) for hemisphere in self.hemispheres}
        if len(files) != len(self.hemispheres):
            raise InputError(
                f"--data.source.surface: expected a folder, or one file for each of {', '.join(self.hemispheres)}, "
                f"found {len(files)}; give as many"
            )
        return dict(zip(self.hemispheres, files, strict=True))

    def _folder(self, number: int) -> Path:
        if not self.root.is_dir():
            raise InputError(
                f"--data.source.root {self.root}: expected a folder with {_LAYOUT}, found no folder; correct the path"
            )
        folder = self.root / f"subj{number:02d}"
        if not folder.is_dir():
            there = sorted(path.name for path in self.root.glob("subj[0-9][0-9]"))
            raise InputError(
                f"{folder}: expected the folder of subject {number} ({_LAYOUT}), found {', '.join(there) or 'none'} in "
                f"{self.root}; correct --data.source.root or --data.source.subject"
            )
        return folder


@dataclass(frozen=True)
class SubjectTree:
    """The files of one subject."""

    folder: Path
    hemispheres: tuple[Hemisphere, ...]

    @cached_property
    def training(self) -> dict[Hemisphere, np.memmap]:
        """Training responses of each hemisphere, (n_train, n_vertices)."""
        return self.open_responses("training")

    @property
    def sizes(self) -> dict[str, int]:
        """Vertices of each hemisphere."""
        return {str(hemisphere): array.shape[1] for hemisphere, array in self.training.items()}

    @property
    def num_targets(self) -> int:
        return sum(self.sizes.values())

    def read(self, noise_ceiling: Path | None, places: Mapping[Hemisphere, np.ndarray]) -> Recording:
        """Read and check everything about this subject.

        Args:
            noise_ceiling: The folder of noise ceilings.
            places: Of all fsaverage vertices of each hemisphere, (163842, 3) in mm.
        """
        train_images = self.images_of("training", "train")
        _check_rows(self.training, train_images)
        vertices = [self.read_vertices(hemisphere) for hemisphere in self.hemispheres]
        coordinates = [places[side][own] for side, own in zip(self.hemispheres, vertices, strict=True)]
        rois = read_rois(self.folder / "roi_masks", self.sizes)
        ceilings = None if noise_ceiling is None else self._read_ceilings(noise_ceiling)
        has_test = (self.folder / "test_split").is_dir()
        test_images = self.images_of("test", "test") if has_test else []
        test = self._open_test_responses(test_images) if has_test else {}
        for array in (*self.training.values(), *test.values()):
            check_finite(array)
        parts = [
            Part(first, self._first_target(hemisphere), array)
            for first, arrays in ((0, self.training), (len(train_images), test))
            for hemisphere, array in arrays.items()
        ]
        images = train_images + test_images
        splits = [UNASSIGNED] * len(train_images) + [TEST if test else WITHHELD] * len(test_images)
        return Recording(
            subject=self.folder.name,
            stimuli=ImageFiles(images),
            responses=measured((len(images), self.num_targets), parts),
            splits=np.array(splits),
            hemispheres=np.repeat(self.hemispheres, list(self.sizes.values())),
            rois=rois,
            noise_ceiling=ceilings,
            coordinates=np.concatenate(coordinates).astype(np.float32),
            vertices=np.concatenate(vertices),
            submission="algonauts2023" if has_test else None,
        )

    def _first_target(self, hemisphere: Hemisphere) -> int:
        """Where a hemisphere's vertices begin among the targets: the left ones come first."""
        return 0 if hemisphere == self.hemispheres[0] else self.training[self.hemispheres[0]].shape[1]

    def open_responses(self, split: str) -> dict[Hemisphere, np.memmap]:
        folder = self.folder / f"{split}_split" / f"{split}_fmri"
        return {
            hemisphere: open_array(folder / f"{hemisphere}_{split}_fmri.npy", ("images", "vertices"))
            for hemisphere in self.hemispheres
        }

    def _open_test_responses(self, images: Sequence[Path]) -> dict[Hemisphere, np.memmap]:
        """Test responses by hemisphere, which only the organisers have; none where the folder holds none."""
        if not any((self.folder / "test_split" / "test_fmri").glob("[lr]h_test_fmri.npy")):
            return {}
        test = self.open_responses("test")
        _check_rows(test, images)
        for hemisphere, array in test.items():
            expected = self.training[hemisphere].shape[1]
            if array.shape[1] != expected:
                raise InputError(
                    f"{array.filename}: expected {expected} vertices as in {hemisphere}_training_fmri.npy, found "
                    f"{array.shape[1]}; use files of the same subject"
                )
        return test

    def images_of(self, split: str, word: str) -> list[Path]:
        """The images of a split, whose names count them from 1."""
        paths = list_images(self.folder / f"{split}_split" / f"{split}_images")
        for position, path in enumerate(paths, start=1):
            match = re.fullmatch(rf"{word}-([0-9]+)_nsd-[0-9]+", path.stem)
            if match is None:
                raise InputError(
                    f"{path}: expected names such as {word}-0001_nsd-00013.png, found {path.name}; move it elsewhere"
                )
            if int(match[1]) != position:
                raise InputError(
                    f"{path}: expected image number {position}, found {int(match[1])}; the images are numbered from 1 "
                    "without gaps or repeats, restore those that belong here"
                )
        return paths

    def read_vertices(self, hemisphere: Hemisphere) -> np.ndarray:
        """fsaverage vertex of each target of a hemisphere, int64 (n_vertices,)."""
        path = self.folder / "roi_masks" / f"{hemisphere}.all-vertices_fsaverage_space.npy"
        mask = read_labels(path, MESH_VERTICES[7], "one per fsaverage vertex")
        if not np.isin(mask, (0, 1)).all():
            raise InputError(f"{path}: expected only 0 and 1, found {int(mask.min())} to {int(mask.max())}; restore it")
        expected = self.training[hemisphere].shape[1]
        if mask.sum() != expected:
            raise InputError(
                f"{path}: expected {expected} vertices in challenge space as in {hemisphere}_training_fmri.npy, found "
                f"{int(mask.sum())}; use files of the same subject"
            )
        return np.flatnonzero(mask)

    def _read_ceilings(self, folder: Path) -> np.ndarray:
        return read_noise_ceiling(
            {folder / self.folder.name / f"{hemisphere}.npy": size for hemisphere, size in self.sizes.items()}
        )


def _check_rows(arrays: dict[Hemisphere, np.memmap], images: Sequence[Path]) -> None:
    for array in arrays.values():
        if len(array) != len(images):
            raise InputError(
                f"{array.filename}: expected {len(images)} rows, one per image of {images[0].parent}, found "
                f"{len(array)}; restore the images or the file"
            )
