"""A recording in memory whose responses are a linear function of the pixels plus noise."""

import hashlib

import numpy as np

from src.data import Source
from src.encoders import Encoder
from src.recording import Recording, Responses, Roi


class Pictures:
    """Images in memory."""

    frames = None

    def __init__(self, images):
        self.images = images
        self.names = [f"{index:04d}.png" for index in range(len(images))]

    def __len__(self):
        return len(self.images)

    def read(self, index):
        return self.images[index]

    def digests(self, memo=None):
        return [hashlib.sha256(image.tobytes()).hexdigest() for image in self.images]


class Planted(Source):
    """Responses that a linear model of 4×4 images explains, with ROIs "lh.a" (first targets) and "rh.b" (the rest).

    Args:
        targets: Which of the 40 possible targets the recording has; None for all.
    """

    def __init__(self, stimuli=150, targets=None, noise=0.5, subjects=1, seed=0, shuffle=False):
        super().__init__(shuffle)
        self.targets = np.arange(40) if targets is None else np.asarray(targets)
        self.stimuli, self.noise, self.subjects, self.seed = stimuli, noise, subjects, seed

    @property
    def num_targets(self):
        return len(self.targets) * self.subjects

    def read(self):
        return [self._read(subject) for subject in range(self.subjects)]

    def _read(self, subject):
        rng = np.random.default_rng((self.seed, subject))
        images = rng.integers(0, 255, (self.stimuli, 4, 4, 3), dtype=np.uint8)
        pixels = images.transpose(0, 3, 1, 2).reshape(self.stimuli, -1) / 127.5 - 1
        signal = pixels @ rng.standard_normal((48, 40)) / 4
        responses = (signal + self.noise * rng.standard_normal(signal.shape) + 3).astype(np.float32)
        hemisphere = np.array(["lh"] * 16 + ["rh"] * 24)[self.targets]
        rois = [Roi(name, side, np.flatnonzero(hemisphere == side)) for name, side in (("a", "lh"), ("b", "rh"))]
        return Recording(
            f"subj{subject + 1:02d}",
            Pictures(images),
            Responses.of(responses[:, self.targets]),
            np.array([""] * self.stimuli),
            hemisphere,
            [roi for roi in rois if len(roi.targets)],
        )


class Identity(Encoder):
    """The pixels themselves, one layer (48,)."""

    def forward(self, images):
        return {"pixels": images.float().flatten(1)}

    def feature_shapes(self):
        return {"pixels": (48,)}

    def settings(self):
        return {}
