"""Writes data sets of simulated subjects: the tree of a real challenge, or a user's folder, with planted truth."""

import csv
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image

from ...atomic import whole_folder
from ...errors import InputError
from ...fsaverage import MESH_VERTICES
from ...names import HEMISPHERES
from .betas import write_betas
from .cortex import ROI_CLASSES, Patch
from .nsd import write_nsd
from .planted import Truth
from .subject import RowWriter, SaveImage, SimulatedSubject, check_flags, visual_patches
from .things_fmri import write_things_fmri
from .tvsd import write_tvsd

_NSD_IMAGES = 100_000  # image numbers have five digits
_CHALLENGE_SIZE, _FOLDER_SIZE = 425, 128  # pixels on a side


SINGLE_TRIALS = {"betas": write_betas, "tvsd": write_tvsd, "things-fmri": write_things_fmri}
"""Formats of single trials that are written by one function each."""

USUAL = {
    "algonauts2023": (1000, 39_548, 1),
    "folder": (1000, 39_548, 1),
    "nsd": (120, 2000, 1),
    "nsd-synthetic": (120, 2000, 1),
    "betas": (240, 600, 1),
    "tvsd": (300, 1024, 2),
    "things-fmri": (360, 600, 1),
}
"""The formats that are written, and their images, targets and subjects where no number is given."""


def simulate(
    out: str | Path,
    format: str = "algonauts2023",
    images: int | None = None,
    targets: int | None = None,
    subjects: int | None = None,
    seed: int = 0,
    test_responses: bool = False,
    surfaces: bool = True,
) -> None:
    """Write simulated subjects to a new folder; it appears when it is complete, or not at all.

    Beside the format's own files lie `truth/subjNN.npz` (see `planted.Truth`) and, where the format has no noise
    ceilings of its own, these: `noise_ceiling/subjNN/{lh,rh}.npy` in per cent for "algonauts2023",
    `noise_ceiling.npy` as fractions for "folder".

    Args:
        out: The folder to make.
        format: "algonauts2023" (the challenge's tree), "folder" (images/, responses.npy and tables; with several
            subjects one folder each), "nsd" (the Natural Scenes Dataset as it is downloaded; its trials hold whole
            surfaces, 1.3 MB each), "nsd-synthetic" (that with NSD-synthetic of the same subjects), "betas"
            (LAION-fMRI's tree), "tvsd" (the THINGS ventral stream spiking dataset), or "things-fmri".
        images: Training images per subject; a fifth as many test images come on top, 159 at most as in the challenge.
            Of "nsd", images that a subject was to see three times, a tenth of them shared. Of "betas", all images
            of a subject, a third of them shared. Of "tvsd" and "things-fmri", 100 test images at most.
        targets: Of both hemispheres together, or channels; where not given, see `USUAL`.
        subjects: How many; each has its own images, but those that see THINGS see the same.
        seed: Determines everything.
        test_responses: In the challenge's tree, write the responses to the test images too, which it withholds. Other
            formats always have them.
        surfaces: Of "nsd", write betas on fsaverage beside those in volumes.

    Raises:
        InputError: A number is out of range, or the folder is there already.
    """
    out = Path(out)
    if format not in USUAL:
        raise InputError(f"--format: expected {', '.join(USUAL)}, found {format!r}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: expected a new or empty folder, found that it has content; name another")
    given = zip((images, targets, subjects), USUAL[format], strict=True)
    images, targets, subjects = (usual if each is None else each for each, usual in given)
    with whole_folder(out.resolve()) as folder:
        if format in ("nsd", "nsd-synthetic"):
            truths = write_nsd(folder, images, targets, subjects, seed, format == "nsd-synthetic", surfaces)
        elif format in SINGLE_TRIALS:
            truths = SINGLE_TRIALS[format](folder, images, targets, subjects, seed)
        else:
            truths = _write_images(folder, format, images, targets, subjects, seed, test_responses)
        (folder / "truth").mkdir()
        for name, truth in truths.items():
            truth.write(folder / "truth" / f"{name}.npz")


def _write_images(
    folder: Path, format: str, images: int, targets: int, subjects: int, seed: int, test_responses: bool
) -> dict[str, Truth]:
    """The formats that keep each image in a file."""
    if not 10 <= images <= 9_999:
        raise InputError(f"--images: expected 10 to 9999, as numbers have four digits, found {images}")
    tests = min(159, images // 5)
    if not 1 <= subjects * (images + tests) <= _NSD_IMAGES:
        raise InputError(f"--subjects: expected 1 to {_NSD_IMAGES // (images + tests)} at this size, found {subjects}")
    check_flags("--", targets, seed)
    patches, truths = visual_patches(targets), {}
    for number in range(1, subjects + 1):
        subject = SimulatedSubject(patches, images, tests, seed, number)
        if format == "algonauts2023":
            _write_algonauts2023(folder, subject, test_responses)
        else:
            _write_folder(folder if subjects == 1 else folder / subject.name, subject)
        truths[subject.name] = subject.truth
    return truths


def _save_png(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path, compress_level=1)  # textured images hardly compress; higher levels only cost time


def _write_algonauts2023(root: Path, subject: SimulatedSubject, test_responses: bool) -> None:
    folder = root / subject.name
    folders = {split: (folder / f"{split}_split" / f"{split}_images") for split in ("training", "test")}
    for path in (*folders.values(), folder / "training_split" / "training_fmri", folder / "roi_masks"):
        path.mkdir(parents=True)
    numbers = np.random.default_rng(subject.seed).permutation(_NSD_IMAGES)
    numbers = numbers[(subject.number - 1) * subject.stimuli : subject.number * subject.stimuli]
    training, tests = np.sort(numbers[: subject.images]), np.sort(numbers[subject.images :])

    def save(index: int, image: np.ndarray) -> None:
        if index < subject.images:
            path = folders["training"] / f"train-{index + 1:04d}_nsd-{training[index]:05d}.png"
        else:
            index -= subject.images
            path = folders["test"] / f"test-{index + 1:04d}_nsd-{tests[index]:05d}.png"
        _save_png(image, path)

    _write_responses(folder, subject, save, test_responses)
    ceilings = root / "noise_ceiling" / subject.name
    ceilings.mkdir(parents=True)
    truth = subject.truth
    for patch in subject.patches:
        ceiling = 100 * truth.noise_ceiling[truth.hemisphere == patch.hemisphere]
        np.save(ceilings / f"{patch.hemisphere}.npy", ceiling.astype(np.float32))
        _write_roi_masks(folder / "roi_masks", patch)
    for roi_class, names in ROI_CLASSES.items():
        mapping = dict(enumerate(("Unknown", *names)))
        np.save(folder / "roi_masks" / f"mapping_{roi_class}.npy", np.array(mapping, dtype=object), allow_pickle=True)


def _write_responses(folder: Path, subject: SimulatedSubject, save: SaveImage, test_responses: bool) -> None:
    """Write the challenge's response files, one per split and hemisphere."""
    sizes = [len(patch.vertices) for patch in subject.patches]
    splits = {"training": (0, subject.images)}
    if test_responses:
        (folder / "test_split" / "test_fmri").mkdir()
        splits["test"] = (subject.images, subject.stimuli)
    signal_file = folder / "signal.npy"
    with ExitStack() as stack:
        writers = {}
        for split, (start, end) in splits.items():
            for side, size in enumerate(sizes):
                path = folder / f"{split}_split" / f"{split}_fmri" / f"{HEMISPHERES[side]}_{split}_fmri.npy"
                writers[split, side] = stack.enter_context(RowWriter(path, (end - start, size)))
        for first, responses in subject.make(_CHALLENGE_SIZE, save, signal_file):
            stimuli = first + np.arange(len(responses))
            for (split, side), writer in writers.items():
                start, end = splits[split]
                rows = responses[(stimuli >= start) & (stimuli < end)]
                writer.append(np.split(rows, [sizes[0]], axis=1)[side])
    signal_file.unlink()


def _write_roi_masks(folder: Path, patch: Patch) -> None:
    mask = np.zeros(MESH_VERTICES[7], dtype=np.int64)
    mask[patch.vertices] = 1
    np.save(folder / f"{patch.hemisphere}.all-vertices_fsaverage_space.npy", mask)
    for roi_class, labels in patch.labels.items():
        full = np.zeros(MESH_VERTICES[7], dtype=np.int64)
        full[patch.vertices] = labels
        np.save(folder / f"{patch.hemisphere}.{roi_class}_fsaverage_space.npy", full)
        np.save(folder / f"{patch.hemisphere}.{roi_class}_challenge_space.npy", labels)


def _write_folder(folder: Path, subject: SimulatedSubject) -> None:
    (folder / "images").mkdir(parents=True)

    def save(index: int, image: np.ndarray) -> None:
        _save_png(image, folder / "images" / names[index])

    names = [f"image-{index + 1:05d}.png" for index in range(subject.stimuli)]
    signal_file = folder / "signal.npy"
    with RowWriter(folder / "responses.npy", (subject.stimuli, len(subject.truth.model))) as rows:
        for _, responses in subject.make(_FOLDER_SIZE, save, signal_file):
            rows.append(responses)
    signal_file.unlink()
    np.save(folder / "noise_ceiling.npy", subject.truth.noise_ceiling)
    np.save(folder / "coordinates.npy", np.concatenate([patch.coordinates for patch in subject.patches]))
    splits = ["train"] * subject.images + ["test"] * subject.test_images
    _write_table(folder / "split.csv", ("stimulus", "split"), zip(names, splits, strict=True))
    left = len(subject.patches[0].vertices)
    rois = (
        (int(target) + offset, patch.hemisphere, name)
        for patch, offset in zip(subject.patches, (0, left), strict=True)
        for name, targets in patch.rois().items()
        for target in targets
    )
    _write_table(folder / "rois.csv", ("target", "hemisphere", "roi"), rois)


def _write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)
