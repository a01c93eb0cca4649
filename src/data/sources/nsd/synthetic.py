"""NsdSynthetic: the subjects of the Natural Scenes Dataset before images that are not natural.

Gifford et al. 2025, "A 7T fMRI dataset of synthetic images for out-of-distribution modeling of vision".
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ....errors import InputError
from ....fsaverage import MESH_VERTICES
from ....names import HEMISPHERES, TEST
from ....recording import Recording, Responses, Trials
from ...hdf5_images import Brick, BrickImages
from ...trials.prepared import PreparedTrials
from ...trials.repeats import TrialRepeats, trial_table
from ...trials.series import Hdf5Series, ImageSeries, Series
from ..base import Source, subject_numbers
from .design import read_mat
from .sessions import beta_session
from .targets import NsdTargets
from .tree import NsdTree, Space, one_of

Task = Literal["both", "fixation", "memory"]

_RUNS = 8  # of as many trials each; odd ones had a fixation task, even ones a memory task


class NsdSynthetic(Source):
    """Reads NSD-synthetic beside the Natural Scenes Dataset, in the same root: a test set of the same subjects.

    Every image is a test image: `--data.test_sets.synthetic NsdSynthetic` beside `--data.source NSD`. Targets are
    standardised within the session and averaged over repeats, of which images have 2 to 10. Images are stored in linear
    light and wide: networks get the square root, as from any image file, and the square in the middle.

    Args:
        root: The folder that holds `nsddata`, `nsddata_betas` and `nsddata_stimuli`.
        subject: One subject's number, or a list of several.
        space: As in NSD.
        betas: Which of the betas, by the name of their folder.
        targets: As in NSD.
        rois: As in NSD.
        task: Average over both tasks, or over the trials of one.
        zscore: Standardise each target within the session.
        shuffle: Permute the responses over the training stimuli, of which there are none.

    Raises:
        InputError: A file is missing or damaged, or a flag names what is not there.
    """

    def __init__(
        self,
        root: Path,
        subject: int | list[int] = 1,
        space: Space = "fsaverage",
        betas: str = "nsdsyntheticbetas_fithrf_GLMdenoise_RR",
        targets: list[str] | str = "nsdgeneral",
        rois: list[str] | None = None,
        task: Task = "both",
        zscore: bool = True,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        numbers = subject_numbers(subject)
        wanted = [targets] if isinstance(targets, str) else list(targets)
        self.root, self.zscore = Path(root), zscore
        self.task: Task = task
        self.subjects = [_Subject(NsdTree(self.root, number), space, betas, wanted, rois) for number in numbers]
        self._num_targets = sum(each.targets.num_targets for each in self.subjects)
        self.keep_in(Path("cache"))

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def keep_in(self, cache_dir: Path) -> None:
        self.cache_dir = Path(cache_dir)

    def prepare(self) -> None:
        for subject in self.subjects:
            subject.prepared(self.cache_dir, self.zscore).prepare()

    def read(self) -> Sequence[Recording]:
        return [subject.read(self.cache_dir, self.zscore, self.task) for subject in self.subjects]


class _Subject:
    """One subject's session.

    Args:
        tree: The subject's files.
        space: As in NsdSynthetic, and so the others.
        betas: See there.
        targets: See there.
        rois: See there.
    """

    def __init__(
        self, tree: NsdTree, space: Space, betas: str, targets: Sequence[str], rois: Sequence[str] | None
    ) -> None:
        self.tree, self.folder = tree, tree.betas(space, betas)
        self.files = self._open(space)
        self.targets = NsdTargets(tree, space, self.folder, [self.files], targets, rois)
        order = read_mat(tree.synthetic_design, ("masterordering",))["masterordering"].astype(np.int64).ravel()
        trials = next(iter(self.files.values())).num_trials
        if len(order) != trials or order.min() < 1:
            raise InputError(
                f"{tree.synthetic_design}: expected masterordering to count from 1, with an image for each of the "
                f"{trials} trials of {self.folder.name}, found {len(order)} from {order.min()}; copy both again"
            )
        self.image = order - 1

    def prepared(self, cache_dir: Path, zscore: bool) -> PreparedTrials:
        session = beta_session("nsdsynthetic", self.files, self.targets.chosen)
        return PreparedTrials(cache_dir, [session], self.targets.num_targets, zscore)

    def read(self, cache_dir: Path, zscore: bool, task: Task) -> Recording:
        """Read everything about this subject."""
        run = np.arange(len(self.image)) * _RUNS // len(self.image) + 1
        chosen = {"both": run > 0, "fixation": run % 2 == 1, "memory": run % 2 == 0}[task]
        images, place = np.unique(self.image[chosen], return_inverse=True)
        stimulus = np.full(len(self.image), -1)
        stimulus[chosen] = place
        prepared = self.prepared(cache_dir, zscore)
        responses = prepared.mean(trial_table(stimulus))
        trials = Trials(prepared.load(), stimulus, np.ones(len(self.image), dtype=np.int64), run)
        return self.targets.recording(
            stimuli=self._stimuli(images),
            responses=Responses.of(responses),
            splits=np.full(len(images), TEST),
            categories=self._classes(images),
            trials=trials,
            repeats=TrialRepeats(trials.responses, stimulus, self.targets.snr),
        )

    def _open(self, space: Space) -> dict[str, Series]:
        name = "betas_nsdsynthetic"
        if space == "fsaverage":
            files: dict[str, Series] = {
                side: ImageSeries(one_of(self.folder, f"{side}.{name}", (".mgh", ".mgz"))) for side in HEMISPHERES
            }
            for series in files.values():
                if series.shape != (MESH_VERTICES[7], 1, 1):
                    raise InputError(
                        f"{series.path}: expected a value per fsaverage vertex, found {series.shape}; copy it again"
                    )
            return files
        path = one_of(self.folder, name, (".hdf5", ".nii", ".nii.gz"))
        return {"": Hdf5Series(path) if path.suffix == ".hdf5" else ImageSeries(path)}

    def _stimuli(self, images: np.ndarray) -> BrickImages:
        shared, own = (Brick(path) for path in self.tree.synthetic_stimuli)
        count = shared.check(images[:0])
        own.check(images[images >= count] - count)
        rows = [(shared, int(image)) if image < count else (own, int(image) - count) for image in images]
        return BrickImages(rows, [f"nsdsynthetic-{image:03d}" for image in images], as_seen)

    def _classes(self, images: np.ndarray) -> np.ndarray | None:
        """The class of each image, where the table of them is there."""
        path = self.tree.synthetic_design.with_name("nsdsyntheticimageinformation.csv")
        if not path.is_file():
            return None
        try:
            with path.open(newline="", encoding="utf-8", errors="replace") as file:
                rows = list(csv.DictReader(file))
        except csv.Error as error:
            raise InputError(f"{path}: expected a table of the images, found {error}; copy it again") from error
        if not rows or "Image class" not in rows[0] or len(rows) <= images.max():
            raise InputError(
                f"{path}: expected a row for each of {images.max() + 1} images with the column Image class, found "
                f"{len(rows)} rows; copy it again"
            )
        return np.array([rows[image]["Image class"] or "" for image in images])


def as_seen(image: np.ndarray) -> np.ndarray:
    """From linear light to the values of an image file, and the square in the middle."""
    height, width = image.shape[:2]
    left = (width - height) // 2
    square = image[:, left : left + height] if width > height else image
    return np.rint(np.sqrt(square / 255.0) * 255).astype(np.uint8)
