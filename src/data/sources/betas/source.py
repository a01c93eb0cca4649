"""Betas: any laboratory's single-trial betas, with a table of what each trial showed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ....errors import InputError
from ....recording import Recording
from ..base import Source, common_columns
from .subject import BetasSubject, CeilingIn, Wanted
from .table import Columns
from .tree import holds_betas


class Betas(Source):
    """Reads single-trial betas: one file per session, or per session and hemisphere, and a table of trials.

    Files are 4-D NIfTI, MGH or GIfTI of each hemisphere, CIFTI (dense scalars or series), or GLMsingle's `.hdf5` and
    `.npy`. They are found by their names, which hold "betas" or are GLMsingle's own, in the folders of BIDS
    derivatives (`derivatives/*/sub-01/ses-01/`) or in the root; so are the table (`trials.tsv` or `*_trials.tsv`, a row
    per trial), a mask (`*mask.nii.gz`), ROIs (a folder `rois`, or `label-` in the name) and noise ceilings. LAION-fMRI
    is read as it is downloaded.

    Each target is standardised within each session, and averaged over the repeats of an image. What is prepared so is
    kept in the cache, session by session, so that a second run reads no more of them than tells which targets were
    measured. Targets that a session did not measure are left out: those that are NaN, or the same number in trial after
    trial. Noise ceilings are those of the repeats of the scored images, and beside them those of files that are about
    as many repeats.

    Args:
        root: The folder.
        subject: One subject, by its number or name, or a list of several; the only one that is there where not given.
        betas: A part of the paths of the betas' files below the root, where there are several kinds or derivatives.
        space: The space of the betas, the word after `space-` in their names, where there are several.
        sessions: Sessions to read, by number or name; all that are there where not given.
        trials: The table of trials; looked for where not given.
        session_column: Of the table: which session.
        run_column: Of the table: which run.
        index_column: Of the table: which of its session's betas a row is of.
        label_column: Of the table: which stimulus was shown, by its file's name.
        first_index: What the table calls a session's first trial.
        images: The folder of stimuli, or a file of them as LAION-fMRI has it; looked for where not given.
        mask: Where targets may be: a map that is 1 there. Looked for where not given.
        targets: Which voxels or vertices: those of a ROI, of a list of ROIs, or all. Where not given, those in the
            mask, or without a mask those of all ROIs.
        rois: ROIs that are scored; all that are there where not given.
        roi_folder: Where the maps of ROIs are; looked for where not given.
        noise_ceiling: A map of noise ceilings, for images without repeats of their own; looked for where not given.
        ceiling_in: The unit of noise ceilings.
        split: Which images test: a file, or the name of one in the root's folder `splits`, such as tau. Where not
            given, the root's `split.csv`, or a seeded split.
        average_repeats: Train on the mean over an image's repeats, rather than on single trials. Tests are on means.
        zscore: Standardise each target within each session.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

    Raises:
        InputError: A file is missing or damaged, files disagree, or a flag names what is not there.
    """

    layout = "*betas* of each session and trials.tsv"

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return holds_betas(root)

    def __init__(
        self,
        root: Path,
        subject: list[int | str] | int | str | None = None,
        betas: str | None = None,
        space: str | None = None,
        sessions: list[int | str] | None = None,
        trials: Path | None = None,
        session_column: str = Columns.session,
        run_column: str = Columns.run,
        index_column: str = Columns.index,
        label_column: str = Columns.label,
        first_index: Literal[0, 1] = 0,
        images: Path | None = None,
        mask: Path | None = None,
        targets: list[str] | str | None = None,
        rois: list[str] | None = None,
        roi_folder: Path | None = None,
        noise_ceiling: Path | None = None,
        ceiling_in: CeilingIn = "percent",
        split: str | None = None,
        average_repeats: bool = True,
        zscore: bool = True,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        wanted = Wanted(
            betas=betas,
            space=space,
            sessions=sessions,
            trials=_path(trials),
            columns=Columns(session_column, run_column, index_column, label_column),
            first_index=first_index,
            mask=_path(mask),
            targets=[targets] if isinstance(targets, str) else targets,
            rois=rois,
            roi_folder=_path(roi_folder),
            noise_ceiling=_path(noise_ceiling),
            ceiling_in=ceiling_in,
            images=_path(images),
            split=split,
            average_repeats=average_repeats,
            zscore=zscore,
        )
        asked = subject if isinstance(subject, list) else [subject]
        self.subjects = [BetasSubject(Path(root), each, wanted) for each in asked]
        names = [each.name for each in self.subjects]
        if not names or len(set(names)) < len(names):
            raise InputError(f"--data.source.subject {subject}: expected each subject once, found {names}; name them")
        self.own_subjects = names[0].startswith("sub-")
        self._num_targets = sum(each.num_targets for each in self.subjects)
        self.keep_in(Path("cache"))

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def trial_columns(self) -> list[str] | None:
        return common_columns([subject.trial_columns for subject in self.subjects])

    def keep_in(self, cache_dir: Path) -> None:
        self.cache_dir = Path(cache_dir)

    def prepare(self) -> None:
        for subject in self.subjects:
            subject.prepared(self.cache_dir).prepare()

    def read(self) -> Sequence[Recording]:
        return [subject.read(self.cache_dir) for subject in self.subjects]


def _path(path: Path | None) -> Path | None:
    return None if path is None else Path(path)
