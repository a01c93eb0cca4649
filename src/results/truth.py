"""What a submission is scored against: the measured responses to a challenge's test stimuli.

Algonauts 2023: the challenge's own tree, whose `subjNN/test_split/test_fmri/{lh,rh}_test_fmri.npy` only the organisers
have, with `subjNN/roi_masks` where ROIs shall be scored too. Of Algonauts 2021 no test responses are public, so the
layout is the plainest that says all: `subNN/ROI.pkl` of a folder, each {"test": (n_test, repetitions, voxels)}, which
is what the challenge's own tree has of the training videos under "train".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.arrays import check_finite, open_array
from ..data.noise_ceiling import read_noise_ceiling
from ..data.reliability import mean_over_repetitions, split_half_reliability
from ..data.sources.algonauts2021 import Track, read_repeats
from ..data.sources.algonauts2023_rois import read_rois
from ..errors import InputError
from ..names import HEMISPHERES, TEST
from ..recording import Recording, Responses, Roi

_LAYOUTS = "subjNN/test_split/test_fmri/{lh,rh}_test_fmri.npy (Algonauts 2023) or subNN/ROI.pkl (2021)"


@dataclass(frozen=True)
class Truth:
    """One subject's test split.

    Args:
        recording: What is known of its targets.
        responses: (n_test, n_targets) as measured; the recording itself would cut them to float32.
    """

    recording: Recording
    responses: np.ndarray

    @property
    def sizes(self) -> dict[str, int]:
        """Targets of each file of a submission, in their order: by hemisphere, or of Algonauts 2021 by ROI."""
        hemispheres = [side for side in HEMISPHERES if (self.recording.hemispheres == side).any()]
        if hemispheres:
            return {side: int((self.recording.hemispheres == side).sum()) for side in hemispheres}
        return {roi.name: len(roi.targets) for roi in self.recording.rois}


@dataclass(frozen=True)
class UnseenStimuli:
    """Test stimuli of which only the number is known.

    Args:
        count: How many.
    """

    count: int
    frames = None

    @property
    def names(self) -> Sequence[str]:
        return [f"test-{position + 1:04d}" for position in range(self.count)]

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> np.ndarray:
        raise NotImplementedError("stimuli are not read for scoring")

    def digests(self, memo: Path | None = None) -> Sequence[str]:
        raise NotImplementedError("stimuli are not read for scoring")


def is_truth_2021(truth: Path) -> bool:
    """Which of the two layouts a folder has.

    Raises:
        InputError: It has neither.
    """
    if any(truth.glob("subj[0-9][0-9]/test_split")):
        return False
    if any(truth.glob("sub[0-9][0-9]/*.pkl")):
        return True
    raise InputError(f"--truth {truth}: expected a folder with {_LAYOUTS}, found none; correct the path")


def read_truth_2023(truth: Path, ceilings: Path | None) -> list[Truth]:
    """The test split of every subject of an Algonauts 2023 tree that has test responses.

    Args:
        truth: The tree.
        ceilings: A folder with `subjNN/{lh,rh}.npy`, per cent or fraction of variance; without, there is no score.

    Raises:
        InputError: No subject has test responses, or a file is not what it has to be.
    """
    folders = [path for path in sorted(truth.glob("subj[0-9][0-9]")) if any(_test_files(path))]
    if not folders:
        raise InputError(
            f"--truth {truth}: expected subjNN/test_split/test_fmri/{{lh,rh}}_test_fmri.npy, found no test responses; "
            "they are withheld from the public, and simulate --test_responses makes them"
        )
    return [_read_subject_2023(folder, ceilings) for folder in folders]


def read_truth_2021(truth: Path, track: Track) -> list[Truth]:
    """The test videos' responses of every subject, of the full track WB alone, of the mini track all other ROIs.

    Args:
        truth: A folder with `subNN/ROI.pkl`.
        track: "mini" or "full".

    Raises:
        InputError: No subject has such a ROI, or a file is not what it has to be.
    """
    truths = []
    for folder in sorted(truth.glob("sub[0-9][0-9]")):
        files = [path for path in sorted(folder.glob("*.pkl")) if (path.stem == "WB") == (track == "full")]
        if files:
            truths.append(_read_subject_2021(folder, files, track))
    if not truths:
        wanted = "WB.pkl" if track == "full" else "a file per ROI such as V1.pkl"
        raise InputError(
            f"--truth {truth}: expected subNN with {wanted} for the {track} track, found none; put it there"
        )
    return truths


def _test_files(folder: Path) -> list[Path]:
    paths = [folder / "test_split" / "test_fmri" / f"{side}_test_fmri.npy" for side in HEMISPHERES]
    return [path for path in paths if path.is_file()]


def _read_subject_2023(folder: Path, ceilings: Path | None) -> Truth:
    arrays = {path.name[:2]: open_array(path, ("images", "vertices")) for path in _test_files(folder)}
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise InputError(
            f"{folder / 'test_split'}: expected equally many images in both hemispheres, found {sorted(lengths)}; use "
            "the files of one subject"
        )
    for array in arrays.values():
        check_finite(array)
    sizes = {side: array.shape[1] for side, array in arrays.items()}
    responses = np.concatenate(list(arrays.values()), axis=1)
    count = len(responses)
    ceiling = None
    if ceilings is not None:
        ceiling = read_noise_ceiling({ceilings / folder.name / f"{side}.npy": size for side, size in sizes.items()})
    recording = Recording(
        subject=folder.name,
        stimuli=UnseenStimuli(count),
        responses=Responses.of(responses),
        splits=np.full(count, TEST),
        hemispheres=np.repeat(list(sizes), list(sizes.values())),
        rois=read_rois(folder / "roi_masks", sizes),
        noise_ceiling=ceiling,
        submission="algonauts2023",
    )
    return Truth(recording, responses)


def _read_subject_2021(folder: Path, files: Sequence[Path], track: Track) -> Truth:
    means, rois, reliability = [], [], []
    first = 0
    for path in files:
        repeats = read_repeats(path, TEST, np.float64)
        if means and len(repeats) != len(means[0]):
            raise InputError(
                f"{path}: expected responses to {len(means[0])} videos as in {files[0].name}, found {len(repeats)}; "
                "use the files of one release"
            )
        means.append(mean_over_repetitions(repeats, path))
        rois.append(Roi(path.stem, "", np.arange(first, first + repeats.shape[2])))
        reliability.append(split_half_reliability(repeats))
        first += repeats.shape[2]
    responses = np.concatenate(means, axis=1)
    recording = Recording(
        subject=folder.name,
        stimuli=UnseenStimuli(len(responses)),
        responses=Responses.of(responses),
        splits=np.full(len(responses), TEST),
        hemispheres=np.full(first, ""),
        rois=rois,
        noise_ceiling=np.maximum(np.concatenate(reliability), 0),  # not reliable at all: nothing to explain
        submission=f"algonauts2021_{track}",
    )
    return Truth(recording, responses)
