"""From stimuli to what a model is given of them: in extraction, and when a trained model is shown new ones."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby, islice
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..batch import Features, padded
from ..errors import InputError
from ..recipe import make, recipe_of
from .base import Encoder, part_layer
from .framing import interpolated
from .hub import weights_follow
from .projection import Projection

T = TypeVar("T")

Precision = Literal["32-true", "bf16-mixed"]
"""In which networks of frozen encoders compute, in Lightning's words: with bf16, products are, and sums are not."""

LARGEST_SAVED = 200_000_000
"""Bytes of an encoder's weights up to which a checkpoint holds them; larger ones are drawn again from their seed."""


class StimulusIntake:
    """What the data module does with stimuli, without the data: encode, average over frames, round and reduce.

    Args:
        encoder: The frozen encoder; None where the model is given the images.
        average_frames: Of clips, the mean of each feature over the frames, rather than every frame's features.
        frame_spread: Beside the mean, the standard deviation, as `spread_of` names its layer.
        dtype: Precision in which embeddings are cached, and so served.
        projections: Of each reduced layer.
        image_shape: (…, 3, height, width) of images as the model is given them; None with an encoder.
        fingerprint: Of the encoder, where it is known: the hash of big weights takes seconds.
        frames: Frames of a clip that are served one by one; None where stimuli have one set of features.
        batch_size: Images, or frames, encoded at a time.
        precision: Of the encoder's products.
        beside: Mean over the training split of what stood beside the image, by layer; it stands for what new images
            do not have.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        average_frames: bool = True,
        frame_spread: bool = False,
        dtype: str = "float32",
        projections: Mapping[str, Projection] | None = None,
        image_shape: Sequence[int] | None = None,
        fingerprint: Mapping[str, object] | None = None,
        frames: int | None = None,
        batch_size: int = 64,
        precision: Precision = "32-true",
        beside: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.encoder = encoder
        self.average_frames = average_frames
        self.frame_spread = frame_spread
        self.dtype = np.dtype(dtype)
        self.projections = dict(projections or {})
        self.image_shape = None if image_shape is None else tuple(image_shape)
        self.fingerprint = fingerprint
        self.frames = frames
        self.batch_size = batch_size
        self.precision: Precision = precision
        self.beside = dict(beside or {})

    def __call__(
        self, stimuli: np.ndarray, device: torch.device, batch_size: int | None = None
    ) -> tuple[Features | None, Tensor | None]:
        """What a batch holds of stimuli: features by layer, or images.

        Args:
            stimuli: uint8 (n, height, width, 3), or of clips (n, frames, height, width, 3).
            device: Where to encode, and where the result is.
            batch_size: Images, or frames, encoded at a time; without, as many as in training.

        Raises:
            InputError: The model reads clips frame by frame, and these are images or have another number of frames;
                or it reads the spread over frames, and these are images.
        """
        if self.frames is not None and (stimuli.ndim != 5 or stimuli.shape[1] != self.frames):
            found = f"clips of {stimuli.shape[1]}" if stimuli.ndim == 5 else "images"
            raise InputError(f"images: expected clips of {self.frames} frames as in training, found {found}")
        if self.frame_spread and stimuli.ndim != 5:
            raise InputError("images: expected clips as in training, which the spread over frames is of, found images")
        if self.encoder is None:
            assert self.image_shape is not None
            images = np.stack([resized(each, self.image_shape) for each in stimuli])
            return None, torch.from_numpy(images).movedim(-1, -3).to(device)
        served: Features = {}
        for name, part in self.encoder.parts().items():
            at_once = batch_size or self.batch_size
            part.eval().to(device)
            how = (self.average_frames, self.frame_spread, self.precision)
            encoded = encode_stimuli(part, list(stimuli), device, at_once, *how)
            for layer, features in encoded.items():
                own = part_layer(name, layer)
                served[own] = self._reduced(own, torch.from_numpy(features.astype(self.dtype)), stimuli).to(device)
        return served | self._without(len(stimuli), device), None

    @property
    def of_clips(self) -> bool:
        """Whether an image alone is not enough."""
        return self.frames is not None or self.frame_spread

    def through(self, pixels: Tensor) -> tuple[Features | None, Tensor | None]:
        """What `__call__` makes of images, in full precision and with gradients.

        Args:
            pixels: Of 0 to 255, float32 (n, 3, height, width), on the encoder's device.
        """
        if self.encoder is None:
            assert self.image_shape is not None
            height, width = self.image_shape[-2:]
            return None, interpolated(pixels / 255, (height, width), "bicubic") * 255
        served: Features = {}
        for name, part in self.encoder.parts().items():
            for layer, features in part.eval().to(pixels.device)(pixels).items():
                own = part_layer(name, layer)
                projection = self.projections.get(own)
                served[own] = features.float() if projection is None else projection(features.flatten(1))
        return served | self._without(len(pixels), pixels.device), None

    def _without(self, count: int, device: torch.device) -> Features:
        """What stands beside so many images of which nothing else is known."""
        return {layer: mean.to(device).expand(count, *mean.shape) for layer, mean in self.beside.items()}

    def _reduced(self, layer: str, features: Tensor, stimuli: np.ndarray) -> Tensor:
        projection = self.projections.get(layer)
        if projection is None:
            return features
        if stimuli.ndim == 5 and not self.average_frames:  # frames share one basis
            return projection(features.flatten(0, 1).flatten(1)).unflatten(0, features.shape[:2])
        return projection(features.flatten(1))

    def to_plain(self, everything: bool = False) -> dict[str, Any]:
        """All of it in tensors and plain types, from which `from_plain` makes it again.

        Weights that were drawn at random or learnt from the training images are held; those that were fetched are
        named, and told by their fingerprint.

        Args:
            everything: Hold all weights, those that were fetched too.

        Raises:
            TypeError: The encoder was made of what is not plain, such as a function.
        """
        parts = {} if self.encoder is None else self.encoder.parts()
        return {
            "encoder": recipe_of(self.encoder, weights_saved=everything),
            "weights": {name: part.state_dict() for name, part in parts.items() if everything or _is_held(part)},
            "everything": everything,
            "fitted": [name for name, part in parts.items() if part.needs_fit],
            "fingerprint": json.dumps(self._fingerprint(), sort_keys=True),
            "average_frames": self.average_frames,
            "frame_spread": self.frame_spread,
            "dtype": self.dtype.name,
            "projections": {layer: {"mean": fit.mean, "basis": fit.basis} for layer, fit in self.projections.items()},
            "image_shape": self.image_shape,
            "frames": self.frames,
            "batch_size": self.batch_size,
            "precision": self.precision,
            "beside": self.beside,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "StimulusIntake":
        """Make it again; published weights are fetched as in training.

        Raises:
            InputError: The encoder cannot be made, or its weights or settings are others now.
        """
        with weights_follow() if plain.get("everything") else nullcontext():
            encoder: Encoder | None = make(plain["encoder"])
        parts = {} if encoder is None else encoder.parts()
        for name, state in plain["weights"].items():
            parts[name].load_state_dict(state)
        projections = {layer: Projection(fit["mean"], fit["basis"]) for layer, fit in plain["projections"].items()}
        fingerprint = json.loads(plain["fingerprint"])
        settings = {
            name: plain[name]
            for name in (
                "average_frames",
                "frame_spread",
                "dtype",
                "image_shape",
                "frames",
                "batch_size",
                "precision",
                "beside",
            )
            if name in plain
        }
        intake = cls(encoder, projections=projections, **settings)
        found = json.loads(json.dumps(intake._fingerprint()))
        if found != fingerprint:
            changed = ", ".join(key for key in fingerprint if (found or {}).get(key) != fingerprint[key])
            raise InputError(
                f"{type(encoder).__name__}: expected the encoder that the model was trained on, found another "
                f"({changed}); put the weight file of that run back, or install the versions that its run.json names"
            )
        return intake

    def _fingerprint(self) -> Mapping[str, object] | None:
        if self.fingerprint is None and self.encoder is not None:
            self.fingerprint = self.encoder.fingerprint()
        return self.fingerprint


def _is_held(part: Encoder) -> bool:
    """Whether a checkpoint holds a part's weights: no others have them, and they are not too large."""
    size = sum(tensor.nbytes for tensor in part.state_dict().values())
    return part.needs_fit or (not part.fetched and size <= LARGEST_SAVED)


def spread_of(layer: str) -> str:
    """Name of the layer that holds the standard deviations of a layer's features over a clip's frames."""
    return f"{layer} (spread)"


def with_spread(mean: Mapping[str, T], spread: Mapping[str, T]) -> dict[str, T]:
    """What there is of each layer's means, and beside it what there is of its spread."""
    return {name: own for layer in mean for name, own in ((layer, mean[layer]), (spread_of(layer), spread[layer]))}


def same_sized(stimuli: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Runs of stimuli of one size as batches, uint8 (n, height, width, 3), or (n, frames, height, width, 3).

    No more than a batch of them is asked for ahead.
    """
    for _, run in groupby(stimuli, key=lambda stimulus: stimulus.shape):
        while batch := list(islice(run, batch_size)):
            yield np.stack(batch)


def encode_stimuli(
    encoder: Encoder,
    stimuli: Sequence[np.ndarray],
    device: torch.device,
    batch_size: int,
    average_frames: bool,
    frame_spread: bool = False,
    precision: Precision = "32-true",
) -> dict[str, np.ndarray]:
    """Features by layer of stimuli, each float32 (n, *shape), or (n, frames, *shape).

    Where all are of one size the last batch is filled up, because kernels round by the shape of a batch.

    Args:
        encoder: On the device, in evaluation mode.
        stimuli: At least one, each uint8 (height, width, 3), or of clips (frames, height, width, 3).
        device: Where to compute.
        batch_size: Images, or frames, at a time; of clips at least one.
        average_frames: Of clips, the mean over the frames rather than each frame's features.
        frame_spread: Of clips, the standard deviation over the frames beside the mean.
        precision: Of the encoder's products.
    """
    at_once = max(1, batch_size // (len(stimuli[0]) if stimuli[0].ndim == 4 else 1))
    alike = all(each.shape == stimuli[0].shape for each in stimuli)
    blocks = []
    # Of a model that predicts in lower precision, the encoder computes as it did for the cache.
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        for batch in same_sized(stimuli, at_once):
            full = padded(torch.from_numpy(batch), at_once if alike else 0)
            encoded = _encode(encoder, full.movedim(-1, -3), device, average_frames, frame_spread)
            blocks.append({layer: each[: len(batch)] for layer, each in encoded.items()})
    return {layer: np.concatenate([block[layer] for block in blocks]) for layer in blocks[0]}


@torch.inference_mode()
def _encode(
    encoder: Encoder, batch: Tensor, device: torch.device, average_frames: bool, frame_spread: bool
) -> dict[str, np.ndarray]:
    """Features by layer of images uint8 (n, 3, height, width), or clips (n, frames, 3, height, width)."""
    features = encoder(batch.flatten(0, -4).to(device))
    if batch.ndim == 5:
        features = {layer: each.float().unflatten(0, batch.shape[:2]) for layer, each in features.items()}
        if frame_spread:
            spread = {layer: each.std(1, correction=0) for layer, each in features.items()}
            mean = {layer: each.mean(1) for layer, each in features.items()}
            features = with_spread(mean, spread)
        elif average_frames:
            features = {layer: each.mean(1) for layer, each in features.items()}
    return {layer: each.float().cpu().numpy() for layer, each in features.items()}


def resized(stimulus: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image, or each frame of a clip, uint8 (…, height, width, 3), in the height and width of `shape`."""
    from PIL import Image

    height, width = shape[-2:]
    if stimulus.shape[-3:-1] == (height, width):
        return stimulus
    if stimulus.ndim == 4:
        return np.stack([resized(frame, shape) for frame in stimulus])
    return np.asarray(Image.fromarray(stimulus).resize((width, height), Image.Resampling.BICUBIC))
