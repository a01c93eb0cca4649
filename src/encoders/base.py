"""Encoder: images in, features by layer out."""

import hashlib
from abc import ABC, abstractmethod
from operator import itemgetter
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from ..arguments import KeepsArguments
from ..batch import Features, FeatureShapes
from ..errors import InputError
from ..recipe import Remakable
from .framing import Framing, interpolated
from .modes import keeping_modes

VERSION = 2  # raise it when `prepare_images` or an encoder changes what it computes: cached features are then made anew


class Images(Protocol):
    """Images each uint8 (3, height, width), of any size, decoded when they are asked for: a list of tensors is such."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


class Encoder(KeepsArguments, Remakable, nn.Module, ABC):
    """Turns images into features; knows nothing of brains.

    The same class serves frozen, through the embedding cache (`eval()`, inference mode), and inside a model as a
    trainable backbone (gradients flow). It resizes and normalises on the device, so that no preprocessing setting
    has to travel with the images.
    """

    needs_fit: ClassVar[bool] = False
    """Whether `fit` comes before `forward`."""

    @abstractmethod
    def forward(self, images: Tensor) -> Features:
        """Encode images.

        Args:
            images: uint8 (batch, 3, height, width), of any size.

        Returns:
            Features by layer, each float (batch, *shape); the shapes do not depend on the images' size.
        """

    @abstractmethod
    def settings(self) -> dict[str, object]:
        """Every setting that determines the numbers, as plain JSON types; the weights are hashed beside it."""

    def feature_shapes(self) -> FeatureShapes:
        """Shapes of one image's features by layer, from one forward pass of a grey image."""
        first = next((tensor for group in (self.parameters(), self.buffers()) for tensor in group), torch.empty(0))
        grey = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8, device=first.device)
        with keeping_modes(self), torch.no_grad():
            self.eval()  # a batch of one would upset batch norm, and training statistics must not move
            return {layer: tuple(features.shape[1:]) for layer, features in self(grey).items()}

    def token_places(self) -> dict[str, Tensor]:
        """Row and column of each token, int64 (tokens, 2), -1 where it has no place, of layers that are tokens.

        Layers whose tokens are in no order that is known are left out.
        """
        return {}

    def fit(self, images: Images) -> None:
        """Learn from the training images, where the encoder `needs_fit`; the shapes of features are known before.

        Args:
            images: Of the training split; a fit may draw a sample of them.
        """
        raise NotImplementedError(f"{type(self).__name__} is not fitted")

    def parts(self) -> "dict[str, Encoder]":
        """The encoders of which each is fitted, extracted and cached as it is alone, by their names.

        A part's layers are named as `part_layer` says.
        """
        return {"": self}

    def randomised(self) -> "Encoder":
        """The same architecture with random weights: the control that tells what training the weights brought.

        Raises:
            InputError: The encoder has no weights, or random ones.
        """
        raise InputError(
            f"--data.random_control: {type(self).__name__} has no weights to randomise; leave it out, or choose an "
            "encoder with weights"
        )

    @property
    def fetched(self) -> bool:
        """Whether weights of it come from a hub or a file, from where they can be had again."""
        return any(inner.fetched for inner in self.modules() if isinstance(inner, Encoder) and inner is not self)

    def preprocessing(self) -> str:
        """What is done to an image before it is encoded, for people."""
        return "the whole image squeezed to a square"

    def identity(self) -> dict[str, object]:
        """What determines the features but for the weights: class, version and settings, in plain JSON types."""
        return {"encoder": type(self).__name__, "version": VERSION, **self.settings()}

    def fingerprint(self) -> dict[str, object]:
        """What determines the features: class, version, settings and a hash of the weights as they are now.

        Returns:
            Plain JSON types. Two encoders with equal fingerprints give equal features for equal images.
        """
        return {**self.identity(), "weights_sha256": _digest(self)}


def part_layer(part: str, layer: str) -> str:
    """Name of a part's layer among those of all parts, such as "gabor:luminance"; "" is no name."""
    return ":".join(filter(None, (part, layer)))


def prepare_images(
    images: Tensor,
    size: int,
    interpolation: str = "bilinear",
    mean: Tensor | None = None,
    std: Tensor | None = None,
    framing: Framing | None = None,
) -> Tensor:
    """Bring images to a model's input: the one conversion that every encoder uses.

    The whole image is squeezed into the square, antialiased. Nothing is cropped, because the subject saw all of
    it; hence features differ slightly from those of pipelines that crop the centre, which `framing` does too.

    Args:
        images: uint8 (batch, 3, height, width); or float32 of the same range that requires a gradient.
        size: Height and width of the result in pixels.
        interpolation: "bilinear" or "bicubic".
        mean: Subtracted from values in [0, 1], (3, 1, 1); with `std`.
        std: Divided by, (3, 1, 1).
        framing: The model's own way to the square; without, the whole image.

    Returns:
        float (batch, 3, size, size), in [0, 1] before normalising; in `mean`'s dtype where that is given.

    Raises:
        TypeError: The images are not (batch, 3, height, width) of these kinds.
    """
    kind = torch.float32 if images.requires_grad else torch.uint8
    if images.dtype != kind or images.ndim != 4 or images.shape[1] != 3:
        raise TypeError(f"expected uint8 images (batch, 3, height, width), got {images.dtype} {tuple(images.shape)}")
    # Images of files have their channels last. Resizing is faster with them first, and convolutions with them last.
    last = images.is_contiguous(memory_format=torch.channels_last)
    pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
    pixels = pixels.div_(255) if images.dtype == torch.uint8 else pixels / 255
    if framing is None:
        pixels = interpolated(pixels, (size, size), interpolation)
    else:
        pixels = framing.cut(pixels, size, interpolation)
    pixels = pixels.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    if mean is None or std is None:
        return pixels
    return pixels.sub_(mean).div_(std).to(mean.dtype)


def _digest(module: nn.Module) -> str:
    """SHA-256 of a module's parameters and buffers: names, types, shapes and bytes.

    Buffers that no checkpoint holds count as well: fixed filters are such.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()], key=itemgetter(0)):
        if name.endswith("num_batches_tracked"):  # counts training steps, changes no feature
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
