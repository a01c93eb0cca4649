"""GaborEncoder: what a model of primary visual cortex sees, without any weights to download."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch import Features
from ..errors import InputError
from .base import Encoder, prepare_images

PIXELS_PER_CYCLE = 4  # each frequency is filtered on an image just large enough for it, with the same kernels
SIGMA = 0.5  # standard deviation of the Gaussian window, in cycles: a bandwidth of about one octave
CHANNELS = (
    (0.299, 0.587, 0.114),  # luminance
    (1.0, -1.0, 0.0),  # red–green
    (-0.5, -0.5, 1.0),  # blue–yellow
)
LAYERS = ("luminance", "opponent", "colour", "second_order")


class GaborEncoder(Encoder):
    """Gabor energy pyramid with colour opponency (Kay, Naselaris, Prenger & Gallant 2008).

    Complex cells: pairs of Gabor filters in quadrature, at octave-spaced spatial frequencies and evenly spaced
    orientations; the energy is the root of the summed squares of the pair, then averaged on a coarse grid. It is in
    units of contrast: a grating of a channel's frequency and orientation gives about its own amplitude (resizing
    takes up to a fifth). Two colour-opponent channels are filtered likewise, and a coarse image of all three
    channels carries the colour. Beyond the image's edge lies mid grey.

    Texture, where asked for: the maps of luminance energy are filtered again by such pairs of coarser frequencies, and
    the energy of that is the modulation of one kind of contrast (filter–rectify–filter; Baker & Mareschal 2001).
    Beyond the edge, a map goes on as it ends.

    Layers, all maps (channels, grid, grid), frequency-major, then orientation: "luminance" (frequencies ×
    orientations), "opponent" (red–green, then blue–yellow, each opponent frequencies × opponent orientations),
    "colour" (luminance, red–green, blue–yellow; on `colour_grid`), "second_order" (for each frequency, for each
    second-order frequency below it: orientations × second-order orientations).

    Args:
        frequencies: Spatial frequencies of the luminance filters, in cycles per image.
        orientations: Orientations of the luminance filters, evenly spaced over 180 degrees from a vertical grating.
        opponent_frequencies: Spatial frequencies of the colour-opponent filters, in cycles per image.
        opponent_orientations: Orientations of the colour-opponent filters.
        grid: Rows and columns to which energy is averaged; 28 gives maps for receptive-field models.
        colour_grid: Rows and columns of the coarse colour image.
        second_order_frequencies: Spatial frequencies at which luminance energy is filtered again, in cycles per
            image; each is used on the energy of higher frequencies. Empty leaves the layer out.
        second_order_orientations: Orientations of these filters.
        layers: One layer to serve, or several; without, all.

    Raises:
        InputError: A number is out of range, or a layer does not exist.
    """

    kernels: Tensor
    opponent_kernels: Tensor
    second_order_kernels: Tensor
    channel_weights: Tensor

    def __init__(
        self,
        frequencies: Sequence[float] = (2, 4, 8, 16, 32),
        orientations: int = 8,
        opponent_frequencies: Sequence[float] = (2, 4, 8),
        opponent_orientations: int = 4,
        grid: int = 5,
        colour_grid: int = 8,
        second_order_frequencies: Sequence[float] = (),
        second_order_orientations: int = 4,
        layers: list[str] | str | None = None,
    ) -> None:
        super().__init__()
        layers = [layers] if isinstance(layers, str) else layers
        counts = {
            "orientations": orientations,
            "opponent_orientations": opponent_orientations,
            "grid": grid,
            "colour_grid": colour_grid,
            "second_order_orientations": second_order_orientations,
        }
        for name, count in counts.items():
            if count < 1:
                raise InputError(
                    f"--data.encoder.{name}: expected at least 1, found {count}; leave it out for the default"
                )
        for name, values in (("frequencies", frequencies), ("opponent_frequencies", opponent_frequencies)):
            if not values or not all(1 <= value <= 128 for value in values):
                raise InputError(
                    f"--data.encoder.{name}: expected frequencies between 1 and 128 cycles per image, "
                    f"found {list(values)}; leave it out for the default"
                )
        if not all(0.5 <= value < max(frequencies) for value in second_order_frequencies):
            raise InputError(
                "--data.encoder.second_order_frequencies: expected cycles per image from 0.5 to below the highest of "
                f"the frequencies, {max(frequencies):g}, found {list(second_order_frequencies)}; leave out the others"
            )
        offered = LAYERS if second_order_frequencies else LAYERS[:-1]
        if layers is not None and (not layers or set(layers) - set(offered)):
            raise InputError(
                f"--data.encoder.layers: expected some of {', '.join(offered)} (second_order needs "
                f"second_order_frequencies), found {layers}; leave it out for all"
            )
        self.layers = [layer for layer in offered if layers is None or layer in layers]
        self.frequencies = [float(frequency) for frequency in frequencies]
        self.opponent_frequencies = [float(frequency) for frequency in opponent_frequencies]
        self.second_order_frequencies = [float(frequency) for frequency in second_order_frequencies]
        self.orientations = orientations
        self.opponent_orientations = opponent_orientations
        self.second_order_orientations = second_order_orientations
        self.grid = grid
        self.colour_grid = colour_grid
        # Derived from the settings, so not part of a checkpoint.
        self.register_buffer("kernels", gabor_kernels(orientations), persistent=False)
        self.register_buffer("opponent_kernels", gabor_kernels(opponent_orientations), persistent=False)
        self.register_buffer("second_order_kernels", gabor_kernels(second_order_orientations), persistent=False)
        self.register_buffer("channel_weights", torch.tensor(CHANNELS), persistent=False)

    def forward(self, images: Tensor) -> Features:
        finest = max(*self.frequencies, *self.opponent_frequencies)
        pixels = prepare_images(images, max(_pixels(finest), self.colour_grid)) - 0.5  # 0 is mid grey
        channels = torch.einsum("bchw,kc->bkhw", pixels.to(self.kernels.dtype), self.channel_weights)  # (B, 3, n, n)
        features: Features = {}
        if "luminance" in self.layers or "second_order" in self.layers:
            energies = [self._energy(channels[:, :1], frequency, self.kernels) for frequency in self.frequencies]
            features["luminance"] = torch.cat([self._pooled(energy) for energy in energies], dim=1)
            if "second_order" in self.layers:
                features["second_order"] = self._second_order(energies)
        if "opponent" in self.layers:
            planes = channels[:, 1:].flatten(0, 1)[:, None]  # (B·2, 1, n, n)
            energies = [
                self._pooled(self._energy(planes, frequency, self.opponent_kernels))
                for frequency in self.opponent_frequencies
            ]
            features["opponent"] = torch.cat(energies, dim=1).unflatten(0, (-1, 2)).flatten(1, 2)
        if "colour" in self.layers:
            colour = F.interpolate(channels, size=(self.colour_grid,) * 2, mode="bilinear", antialias=True)
            features["colour"] = colour
        return {layer: features[layer] for layer in self.layers}

    def _second_order(self, energies: Sequence[Tensor]) -> Tensor:
        """Energy of energies (B, orientations, m, m), one of each frequency; (B, channels, grid, grid)."""
        maps = []
        for frequency, energy in zip(self.frequencies, energies, strict=True):
            planes = energy.flatten(0, 1)[:, None]  # (B·orientations, 1, m, m)
            for coarser in self.second_order_frequencies:
                if coarser < frequency:
                    again = self._pooled(self._energy(planes, coarser, self.second_order_kernels, extend=True))
                    maps.append(again.unflatten(0, (-1, self.orientations)).flatten(1, 2))
        return torch.cat(maps, dim=1)

    def _energy(self, planes: Tensor, frequency: float, kernels: Tensor, extend: bool = False) -> Tensor:
        """Gabor energy of planes (B, 1, n, n) at one frequency, (B, orientations, m, m).

        Beyond the edge lies 0, or, to `extend` the plane, its outermost values.
        """
        size = _pixels(frequency)
        scaled = F.interpolate(planes, size=(size, size), mode="bilinear", antialias=True)
        # Energy varies no faster than the window, so every second sample is enough where the grid allows it.
        stride = 2 if size >= 4 * self.grid else 1
        margin = kernels.shape[-1] // 2
        if extend:
            scaled, margin = F.pad(scaled, (margin,) * 4, mode="replicate"), 0
        even, odd = F.conv2d(scaled, kernels, stride=stride, padding=margin).unflatten(1, (-1, 2)).unbind(2)
        return (even.square() + odd.square() + 1e-8).sqrt()  # the root has no gradient at 0

    def _pooled(self, energy: Tensor) -> Tensor:
        """Maps (B, orientations, m, m) averaged to (B, orientations, grid, grid)."""
        return F.interpolate(energy, size=(self.grid, self.grid), mode="bilinear", antialias=True)

    def settings(self) -> dict[str, object]:
        return {
            "frequencies": self.frequencies,
            "orientations": self.orientations,
            "opponent_frequencies": self.opponent_frequencies,
            "opponent_orientations": self.opponent_orientations,
            "grid": self.grid,
            "colour_grid": self.colour_grid,
            "second_order_frequencies": self.second_order_frequencies,
            "second_order_orientations": self.second_order_orientations,
            "layers": self.layers,
        }


def gabor_kernels(orientations: int) -> Tensor:
    """Quadrature pairs of Gabor filters, one cycle in `PIXELS_PER_CYCLE` pixels.

    Returns:
        float32 (2 · orientations, 1, width, width): even and odd filter of each orientation. The even ones have no
        mean, so that uniform areas have no energy; a matched grating of amplitude a on these pixels gives energy a.
    """
    radius = math.ceil(3 * SIGMA * PIXELS_PER_CYCLE)
    # In float64 and rounded at the end, so that processors that differ in the last digit make the same fingerprint.
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64) / PIXELS_PER_CYCLE  # in cycles
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    window = torch.exp(-(rows.square() + columns.square()) / (2 * SIGMA**2))
    window = 2 * window / window.sum()
    kernels = []
    for index in range(orientations):
        angle = math.pi * index / orientations
        phase = 2 * math.pi * (columns * math.cos(angle) + rows * math.sin(angle))
        even = window * phase.cos()
        kernels += [even - window * (even.sum() / window.sum()), window * phase.sin()]
    return torch.stack(kernels)[:, None].float()


def _pixels(frequency: float) -> int:
    """Width of the image on which a frequency (cycles per image) is filtered."""
    return round(PIXELS_PER_CYCLE * frequency)
