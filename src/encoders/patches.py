"""PatchEncoder: which small patterns an image holds and where, learnt from the training images."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch import Features, FeatureShapes
from ..errors import InputError
from .base import Encoder, Images, prepare_images
from .kmeans import spherical_kmeans

CONTRAST_FLOOR = 10 / 255**2  # added to a patch's variance, as Coates & Ng add 10 to that of 8-bit values
WHITENING_FLOOR = 0.1  # added to the variance of each principal component, of patches at contrast 1
THRESHOLD = 0.25  # an activation begins here; V4 spikes are predicted alike with 0.5, and worse with 1
STRIDE = 2  # pixels between neighbouring patches that are encoded
FIT_IMAGES = 1000
FIT_PATCHES = 50_000
ITERATIONS = 10
ENCODED_AT_ONCE = 16  # images: before averaging, their activations take 20 MB at the default settings


class PatchEncoder(Encoder):
    """Whitened colour patches, recognised by a dictionary that spherical k-means learnt (Coates & Ng 2011).

    A patch is brought to mean 0 and contrast 1, whitened (ZCA), and compared with each pattern of the dictionary: an
    activation is the inner product above a threshold. The maps cover the whole image, which goes on beyond its edge
    as it ends, and are averaged on a grid. Fitted on patches of a seeded sample of the training images.

    One layer, "patches": (patches, grid, grid).

    Args:
        patches: Patterns in the dictionary.
        patch_size: Side of a patch, in pixels of the resized image.
        image_size: Side to which images are resized.
        grid: Rows and columns to which activations are averaged; 28 gives maps for receptive-field models.
        seed: Of the sample, and of the dictionary's first guess.

    Raises:
        InputError: A number is out of range.
    """

    needs_fit: ClassVar[bool] = True
    patch_mean: Tensor
    whitening: Tensor
    dictionary: Tensor
    fitted: Tensor

    def __init__(
        self, patches: int = 300, patch_size: int = 6, image_size: int = 64, grid: int = 5, seed: int = 0
    ) -> None:
        super().__init__()
        least = {"patches": 1, "patch_size": STRIDE, "image_size": max(patch_size, STRIDE * grid), "grid": 1}
        given = {"patches": patches, "patch_size": patch_size, "image_size": image_size, "grid": grid}
        for name, value in given.items():
            if value < least[name]:
                raise InputError(
                    f"--data.encoder.{name}: expected at least {least[name]}, found {value}; leave it out for the "
                    f"default{', or make patch_size or grid smaller' * (name == 'image_size')}"
                )
        self.patches = patches
        self.patch_size = patch_size
        self.image_size = image_size
        self.grid = grid
        self.seed = seed
        width = 3 * patch_size**2
        self.register_buffer("patch_mean", torch.zeros(width))
        self.register_buffer("whitening", torch.zeros(width, width))
        self.register_buffer("dictionary", torch.zeros(patches, width))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, images: Images) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        sample = torch.randperm(len(images), generator=generator)[:FIT_IMAGES].tolist()
        per_image = -(-FIT_PATCHES // len(sample))
        chosen = []
        for index in sample:
            patches = F.unfold(prepare_images(images[index][None], self.image_size), self.patch_size)[0].T
            chosen.append(patches[torch.randperm(len(patches), generator=generator)[:per_image]])
        patches = torch.cat(chosen).double()  # (n, width)
        variance, mean = torch.var_mean(patches, dim=1, keepdim=True, correction=0)
        patches = (patches - mean) / (variance + CONTRAST_FLOOR).sqrt()
        self.patch_mean.copy_(patches.mean(0))
        patches -= patches.mean(0)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        whitening = vectors / (values.clamp_min(0) + WHITENING_FLOOR).sqrt() @ vectors.T
        self.whitening.copy_(whitening)
        self.dictionary.copy_(spherical_kmeans((patches @ whitening).float(), self.patches, ITERATIONS, generator))
        self.fitted.fill_(True)

    def forward(self, images: Tensor) -> Features:
        if not self.fitted:
            raise InputError(
                f"{type(self).__name__}: expected to be fitted on training images before it encodes any; set it as "
                "--data.encoder, or load what it learnt"
            )
        pixels = prepare_images(images, self.image_size)
        before = (self.patch_size - STRIDE) // 2  # the first patch has the image's first STRIDE pixels in its centre
        after = self.patch_size - STRIDE - before
        padded = F.pad(pixels, (before, after, before, after), mode="replicate")
        return {"patches": torch.cat([self._activations(some) for some in padded.split(ENCODED_AT_ONCE)])}

    def _activations(self, padded: Tensor) -> Tensor:
        """Averaged activations (B, patches, grid, grid) of padded images (B, 3, n, n)."""
        filters = self.dictionary @ self.whitening  # (patches, width)
        offsets = filters @ self.patch_mean + THRESHOLD  # (patches,)
        # Filters of mean 0 do not see a patch's mean, and its contrast can be divided by afterwards.
        kernels = (filters - filters.mean(1, keepdim=True)).unflatten(1, (3, self.patch_size, self.patch_size))
        products = F.conv2d(padded, kernels, stride=STRIDE)  # (B, patches, m, m)
        moments = torch.stack([padded.mean(1), padded.square().mean(1)], dim=1)
        mean, square = F.avg_pool2d(moments, self.patch_size, STRIDE).split(1, dim=1)  # each (B, 1, m, m)
        contrast = ((square - mean.square()).clamp_min(0) + CONTRAST_FLOOR).sqrt()
        return F.adaptive_avg_pool2d((products / contrast - offsets[:, None, None]).relu(), self.grid)

    def feature_shapes(self) -> FeatureShapes:
        return {"patches": (self.patches, self.grid, self.grid)}

    def settings(self) -> dict[str, object]:
        return {
            "patches": self.patches,
            "patch_size": self.patch_size,
            "image_size": self.image_size,
            "grid": self.grid,
            "seed": self.seed,
        }
