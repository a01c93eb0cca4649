"""Small data sets in the formats that the sources read, written by the tests themselves."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

FSAVERAGE_VERTICES = 163_842
VERTICES = {"lh": 7, "rh": 9}
MAPPINGS = {
    "streams": {0: "Unknown", 1: "early", 2: "midventral", 5: "ventral"},
    "floc-bodies": {0: "Unknown", 1: "EBA", 2: "FBA-1"},
}


def write_images(folder: Path, names: list[str], seed: int = 0) -> None:
    """One 8 × 6 image of noise per name."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for name in names:
        Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(folder / name)


def write_array(path: Path, array: np.ndarray | list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def write_algonauts(root: Path, n_train: int = 6, n_test: int = 3, test_responses: bool = False) -> Path:
    """One subject of the Algonauts 2023 challenge, subj01, with two overlapping ROI classes; "FBA-1" is empty.

    Returns:
        The subject's folder.
    """
    subject = root / "subj01"
    generator = np.random.default_rng(1)
    for word, split, n_images in (("train", "training", n_train), ("test", "test", n_test)):
        names = [f"{word}-{i + 1:04d}_nsd-{1000 - 7 * i:05d}.png" for i in range(n_images)]
        write_images(subject / f"{split}_split" / f"{split}_images", names, seed=n_images)
        for hemisphere, n_vertices in VERTICES.items():
            if split == "training" or test_responses:
                write_array(
                    subject / f"{split}_split" / f"{split}_fmri" / f"{hemisphere}_{split}_fmri.npy",
                    generator.standard_normal((n_images, n_vertices), dtype=np.float32),
                )
    for hemisphere, n_vertices in VERTICES.items():
        mask = np.zeros(FSAVERAGE_VERTICES, dtype=np.int32)
        mask[10 + 3 * np.arange(n_vertices)] = 1
        write_array(subject / "roi_masks" / f"{hemisphere}.all-vertices_fsaverage_space.npy", mask)
        for name, labels in (("streams", [0, 1, 1, 2, 5, 5, 0]), ("floc-bodies", [0, 0, 1, 1, 1, 0, 0])):
            write_array(
                subject / "roi_masks" / f"{hemisphere}.{name}_challenge_space.npy",
                np.array(labels + [0] * (n_vertices - 7)),
            )
    for name, mapping in MAPPINGS.items():
        write_array(subject / "roi_masks" / f"mapping_{name}.npy", np.array(mapping, dtype=object))
    return subject


def write_folder(root: Path, n_stimuli: int = 12, n_targets: int = 5) -> Path:
    """A user's folder of images and responses, row i at a level of 100 i."""
    write_images(root / "images", [f"image{i}.png" for i in range(1, n_stimuli + 1)])
    responses = np.random.default_rng(2).standard_normal((n_stimuli, n_targets), dtype=np.float32)
    write_array(root / "responses.npy", responses + 100 * np.arange(n_stimuli, dtype=np.float32)[:, None])
    return root


def write_clip(path: Path, frames: int = 6, shift: int = 0, **options: str) -> None:
    """A 48 × 32 video at 30 frames per second, whose frame i is grey of level shift + 4 i, nearly."""
    write_grey_clip(path, shift + 4 * np.arange(frames), **options)


def write_grey_clip(path: Path, levels: np.ndarray, **options: str) -> None:
    """A 48 × 32 video at 30 frames per second, whose frames are grey of these levels (frames,), nearly."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.gop_size, stream.bit_rate = 1, 8_000_000  # so that grey levels survive
        for level in levels:
            grey = np.full((32, 48, 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())


MINI_VOXELS = {"EBA": 4, "V1": 7, "V2": 3}


def write_algonauts2021(
    root: Path, n_train: int = 8, n_test: int = 3, repetitions: int = 3, subjects: int = 1, frames: int = 6
) -> Path:
    """The Algonauts 2021 tree with both tracks; responses are a signal of variance 1 under noise of variance 1/4.

    Returns:
        The mini track's folder.
    """
    rng = np.random.default_rng(3)
    data = root / "participants_data_v2021"
    for number in range(1, subjects + 1):
        for track, voxels in (("mini_track", MINI_VOXELS), ("full_track", {"WB": 12})):
            folder = data / track / f"sub{number:02d}"
            folder.mkdir(parents=True)
            for roi, count in voxels.items():
                signal = rng.standard_normal((n_train, 1, count))
                noise = rng.standard_normal((n_train, repetitions, count)) / 2
                content: dict[str, np.ndarray] = {"train": (signal + noise).astype(np.float32)}
                if roi == "WB":
                    content["voxel_mask"] = np.arange(3 * 3 * 3).reshape(3, 3, 3) < count
                (folder / f"{roi}.pkl").write_bytes(pickle.dumps(content))
    for clip in range(n_train + n_test):
        write_clip(root / "AlgonautsVideos268_All_30fpsmax" / f"{clip + 1:04d}_clip.mp4", frames, shift=clip)
    return data / "mini_track"


def write_it_spikes(root: Path, pixels: np.ndarray, counts: dict[str, int], n_targets: int = 5) -> Path:
    """The IT spikes' file, of pictures uint8 (n, height, width, 3) and so many of them in "train", "val" and "test"."""
    import h5py

    path = root / "IT_data.h5"
    mean, scale = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = ((pixels / 255 - mean) / scale).transpose(0, 3, 1, 2).astype(np.float32)
    rng = np.random.default_rng(1)
    first = 0
    with h5py.File(path, "w") as file:
        for split, count in counts.items():
            file[f"stimulus_{split}"] = normalised[first : first + count]
            names = [["caf\xe9", "elephant"][row % 2].encode("latin-1") for row in range(count)]
            file[f"object_{split}"] = np.array(names)
            if split != "test":
                file[f"spikes_{split}"] = rng.standard_normal((count, n_targets))
            first += count
    return path
