"""Where everything lies in the Natural Scenes Dataset's tree."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ....errors import InputError

Space = Literal["fsaverage", "func1pt8mm"]

LAYOUT = "nsddata/, nsddata_betas/ and nsddata_stimuli/"


@dataclass(frozen=True)
class NsdTree:
    """One subject's files.

    Args:
        root: The folder that holds `nsddata`, `nsddata_betas` and `nsddata_stimuli`.
        subject: From 1 to 8.
    """

    root: Path
    subject: int

    def __post_init__(self) -> None:
        if not (self.root / "nsddata").is_dir():
            raise InputError(
                f"--data.source.root {self.root}: expected a folder with {LAYOUT}, found no nsddata/; correct the path"
            )

    @property
    def name(self) -> str:
        return f"subj{self.subject:02d}"

    @property
    def design(self) -> Path:
        return self.root / "nsddata" / "experiments" / "nsd" / "nsd_expdesign.mat"

    @property
    def synthetic_design(self) -> Path:
        return self.root / "nsddata" / "experiments" / "nsdsynthetic" / "nsdsynthetic_expdesign.mat"

    @property
    def behaviour(self) -> Path:
        return self.root / "nsddata" / "ppdata" / self.name / "behav" / "responses.tsv"

    @property
    def stimuli(self) -> Path:
        return self.root / "nsddata_stimuli" / "stimuli" / "nsd" / "nsd_stimuli.hdf5"

    @property
    def synthetic_stimuli(self) -> tuple[Path, Path]:
        """The file of the images that all subjects saw, and that of the subject's own coloured ones."""
        folder = self.root / "nsddata_stimuli" / "stimuli" / "nsdsynthetic"
        return folder / "nsdsynthetic_stimuli.hdf5", folder / f"nsdsynthetic_colorstimuli_{self.name}.hdf5"

    @property
    def fsaverage(self) -> Path:
        return self.root / "nsddata" / "freesurfer" / "fsaverage"

    @property
    def native(self) -> Path:
        """The subject's own surfaces and labels."""
        return self.root / "nsddata" / "freesurfer" / self.name

    @property
    def prepared(self) -> Path:
        """The subject's folder of prepared data: masks, ROIs, transforms."""
        return self.root / "nsddata" / "ppdata" / self.name

    def transform(self, hemisphere: str) -> Path:
        """The native vertex, counted from 1, that each fsaverage vertex is nearest to."""
        return one_of(self.prepared / "transforms", f"{hemisphere}.white-to-fsaverage", (".mgz", ".mgh"))

    def betas(self, space: Space, kind: str) -> Path:
        """The folder of one kind of betas.

        Raises:
            InputError: It is not there.
        """
        folder = self.root / "nsddata_betas" / "ppdata" / self.name / space
        if not (folder / kind).is_dir():
            there = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
            raise InputError(
                f"{folder / kind}: expected the betas, found {', '.join(there) or 'no such folder'}; download them, or "
                "correct --data.source.subject, .space or .betas"
            )
        return folder / kind


def one_of(folder: Path, stem: str, suffixes: tuple[str, ...]) -> Path:
    """The file of this name that is there, in the first format of several; the first where none is."""
    paths = [folder / f"{stem}{suffix}" for suffix in suffixes]
    return next((path for path in paths if path.is_file()), paths[0])
