"""VOneEncoder: a network whose first layer is a fixed model of primary visual cortex."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from math import pi, sqrt
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .capture import Tap
from .pooling import Pool
from .pretrained import InputSpec, PretrainedEncoder
from .torchvision_encoder import TorchvisionEncoder
from .tracing import Event
from .v1_cells import FREQUENCY_EDGES, Tuning, draw_tuning

KERNEL = 25  # pixels
STRIDE = 4
WIDTH = 64  # channels that the bottleneck hands to the back-end
GAIN = 25.0
SPIKES, SPIKES_AT_REST = 0.35, 0.07  # per unit of rate, and without a stimulus; their variance is their mean
LEAST_VARIANCE = 1e-4


class FilterBank(nn.Module):
    """Fixed convolution, each filter of which sees one colour channel.

    Args:
        filters: (cells, KERNEL, KERNEL).
        colour: Colour channel of each filter, int64 (cells,).
    """

    weight: Tensor

    def __init__(self, filters: Tensor, colour: Tensor) -> None:
        super().__init__()
        weight = torch.zeros(len(filters), 3, KERNEL, KERNEL)
        weight[torch.arange(len(filters)), colour] = filters
        self.register_buffer("weight", weight)  # no parameter: no policy of fine-tuning may train it

    def forward(self, images: Tensor, first: int = 0) -> Tensor:
        """Responses of the filters from `first` on, (batch, cells - first, height / STRIDE, width / STRIDE)."""
        return F.conv2d(images, self.weight[first:], stride=STRIDE, padding=KERNEL // 2)


class V1Block(nn.Module):
    """Simple cells (half-wave rectified Gabor filters), then complex ones (root of a quadrature pair's energy).

    Every cell is drawn by itself, with PyTorch's generator, and sees one of the colour channels. (The authors' code
    gives the two filters of a complex cell each a channel of its own; the paper and this block give a cell one.)

    Args:
        simple_channels: Simple cells at each place.
        complex_channels: Complex cells at each place.
        degree: Pixels per degree of visual angle.
        noise: Add noise in training.
    """

    def __init__(self, simple_channels: int, complex_channels: int, degree: float, noise: bool = False) -> None:
        super().__init__()
        self.simple_channels = simple_channels
        self.noise = noise
        cells = simple_channels + complex_channels
        tuning, colour = draw_tuning(cells), torch.randint(3, (cells,))
        self.simple_conv_q0 = FilterBank(gabor_filters(tuning, degree), colour)
        self.simple_conv_q1 = FilterBank(gabor_filters(tuning, degree, pi / 2), colour)

    def forward(self, images: Tensor) -> Tensor:
        """Rates of firing, (batch, simple_channels + complex_channels, height / STRIDE, width / STRIDE).

        Args:
            images: Normalised, (batch, 3, height, width).
        """
        even = self.simple_conv_q0(images)
        odd = self.simple_conv_q1(images, self.simple_channels)
        simple, even = even[:, : self.simple_channels], even[:, self.simple_channels :]
        rates = GAIN * torch.cat([simple.relu(), (even.square() + odd.square()).sqrt() / sqrt(2)], dim=1)
        return self._noisy(rates) if self.noise and self.training else rates

    def _noisy(self, rates: Tensor) -> Tensor:
        """Rates with noise whose variance grows with the mean, as that of a Poisson process does."""
        spikes = rates * SPIKES + SPIKES_AT_REST
        noisy = spikes + torch.randn_like(spikes) * (spikes + LEAST_VARIANCE).sqrt()
        return ((noisy - SPIKES_AT_REST) / SPIKES).relu()


def gabor_filters(tuning: Tuning, degree: float, shift: float = 0.0) -> Tensor:
    """Gaussian windows of integral 1, times a cosine across the stripes; float32 (cells, KERNEL, KERNEL).

    Args:
        tuning: The cells.
        degree: Pixels per degree of visual angle.
        shift: Added to the phases; π / 2 makes the other of a quadrature pair.
    """
    place = torch.arange(KERNEL, dtype=torch.float64) - KERNEL // 2
    down, right = place[:, None], place[None, :]
    each_cell = (-1, 1, 1)
    frequency = tuning.frequency.view(each_cell) / degree  # cycles per pixel
    cosine, sine = tuning.orientation.cos().view(each_cell), tuning.orientation.sin().view(each_cell)
    across, along = down * cosine + right * sine, right * cosine - down * sine  # (cells, KERNEL, KERNEL)
    sigmas = tuning.across.view(each_cell) / frequency, tuning.along.view(each_cell) / frequency
    window = (-0.5 * ((across / sigmas[0]).square() + (along / sigmas[1]).square())).exp()
    carrier = (2 * pi * frequency * across + tuning.phase.view(each_cell) + shift).cos()
    return (window / (2 * pi * sigmas[0] * sigmas[1]) * carrier).float()


def alexnet_back_end() -> nn.Module:
    """torchvision's AlexNet from its second convolution on, as the authors adapted it to maps of 56 × 56."""
    from torchvision.models import alexnet

    network: Any = alexnet()
    features: Any = nn.Sequential(*network.features[3:])  # numbered from 0
    features[0].stride = (2, 2)
    features[2].padding = features[9].padding = 1
    network.features = features
    network.avgpool = nn.AdaptiveAvgPool2d(7)
    network.classifier[1] = nn.Linear(256 * 7 * 7, 4096)
    return network


def resnet50_back_end() -> nn.Module:
    """torchvision's ResNet-50 without what comes before its blocks."""
    from torchvision.models import resnet50

    network: Any = resnet50()
    network.conv1 = network.bn1 = network.relu = network.maxpool = nn.Identity()
    return network


BACK_ENDS: dict[str, Callable[[], nn.Module]] = {"alexnet": alexnet_back_end, "resnet50": resnet50_back_end}


class VOneEncoder(PretrainedEncoder):
    """VOneNet (Dapello, Marques, Schrimpf, Geiger, Cox & DiCarlo 2020), as its authors published it.

    "Simulating a primary visual cortex at the front of CNNs improves robustness to image perturbations." In place of
    the first convolution stand cells with the tuning of macaque V1, which are never trained; a bottleneck of 1 × 1
    convolutions joins them to the rest of AlexNet or ResNet-50. Layers are "vone_block" (simple, then complex cells),
    "bottleneck", "model.…" of the back-end, and "embedding", what its classifier is given.

    The authors add noise in tests as well; here it is of training alone, so that features are reproducible.

    Args:
        model: The back-end.
        weights: "random", or a local file in the layout of the authors' checkpoints (such as vonealexnet_e70.pth.tar),
            which holds the V1 block's filters too.
        layers: One layer, or several; without, "embedding".
        pool: Reduce maps over space: "avg", "max", or an average on a grid of this many rows and columns.
        image_size: Input size in pixels; without, 224.
        seed: Seed of random weights and of the cells' tuning.
        visual_degrees: Visual angle of an image's side.
        simple_channels: Simple cells at each place.
        complex_channels: Complex cells at each place.
        noise: Give cells the variability of neurons while the encoder is trained as a backbone.

    Raises:
        InputError: A number is out of range, or the pixels are too coarse for the cells' spatial frequencies.
    """

    library = "vone"

    def __init__(
        self,
        model: Literal["alexnet", "resnet50"],
        weights: str = "random",
        layers: list[str] | str | None = None,
        pool: Pool = None,
        image_size: int | None = None,
        seed: int = 0,
        visual_degrees: float = 8.0,
        simple_channels: int = 256,
        complex_channels: int = 256,
        noise: bool = False,
    ) -> None:
        for name, channels in (("simple_channels", simple_channels), ("complex_channels", complex_channels)):
            if channels < 1:
                raise InputError(f"--data.encoder.{name}: expected at least 1, found {channels}; 256 are published")
        if visual_degrees <= 0:
            raise InputError(f"--data.encoder.visual_degrees: expected more than 0, found {visual_degrees:g}")
        # Before the base's constructor, because that builds with them.
        self._options = {
            "visual_degrees": visual_degrees,
            "simple_channels": simple_channels,
            "complex_channels": complex_channels,
            "noise": noise,
        }
        super().__init__(model, weights, layers, pool, image_size, seed)

    @classmethod
    def models(cls) -> Collection[str]:
        return BACK_ENDS

    @classmethod
    def tags(cls, model: str) -> Sequence[str]:
        return ()

    @classmethod
    def build(
        cls,
        model: str,
        tag: str | None,
        image_size: int | None,
        visual_degrees: float = 8.0,
        simple_channels: int = 256,
        complex_channels: int = 256,
        noise: bool = False,
    ) -> tuple[nn.Module, InputSpec]:
        size = image_size or 224
        least = 2 * FREQUENCY_EDGES[-1] * visual_degrees  # two pixels per cycle
        if size <= least:
            raise InputError(
                f"--data.encoder.image_size: expected more than {least:.0f} pixels for {visual_degrees:g} degrees, so "
                f"that cells of {FREQUENCY_EDGES[-1]:g} cycles per degree see their stripes, found {size}; raise it, "
                "or lower --data.encoder.visual_degrees"
            )
        block = V1Block(simple_channels, complex_channels, size / visual_degrees, noise)
        bottleneck = nn.Conv2d(simple_channels + complex_channels, WIDTH, 1, bias=False)
        nn.init.kaiming_normal_(bottleneck.weight, mode="fan_out", nonlinearity="relu")
        parts = OrderedDict(vone_block=block, bottleneck=bottleneck, model=BACK_ENDS[model]())
        return nn.Sequential(parts), InputSpec(size, mean=(0.5,) * 3, std=(0.5,) * 3)

    def options(self) -> dict[str, Any]:
        return self._options

    @classmethod
    def embedding_tap(cls, network: nn.Module, events: Sequence[Event]) -> Tap | None:
        return TorchvisionEncoder.embedding_tap(network, events)

    def randomised(self) -> PretrainedEncoder:
        control = super().randomised()
        block = self.network.get_submodule("vone_block").state_dict()
        control.network.get_submodule("vone_block").load_state_dict(block)  # which no training made
        return control
