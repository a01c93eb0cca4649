"""Stimuli made to drive a model: gradient ascent on an image whose frequencies weigh as those of photographs do.

Olah, Mordvintsev & Schubert (2017), "Feature visualization"; Bashivan, Kar & DiCarlo (2019), "Neural population control
via deep image synthesis".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COLOURS = ((1.0, 1.0, 1.0), (0.3, -0.3, 0.0), (-0.15, -0.15, 0.3))
"""Rows: luminance, red–green, blue–yellow, in which photographs' colours hardly correlate, and how far each varies."""
LARGEST_SHIFT = 1 / 16
"""Of the image's side: shifted at random, it must drive the model by its pattern and not by the place of a pixel."""


@dataclass(frozen=True)
class Prior:
    """What a synthesised image is like.

    Args:
        size: Height and width in pixels.
        contrast: Standard deviation of its values, of 0 to 1; photographs have about 0.2.
        decay: Amplitudes fall with this power of the spatial frequency; photographs' do with about 1.
    """

    size: int = 224
    contrast: float = 0.2
    decay: float = 1.0

    def pixels(self, spectrum: Tensor) -> Tensor:
        """The image of a spectrum (3, size, size // 2 + 1, 2): float (3, size, size), 0 to 255, at the contrast."""
        down = torch.fft.fftfreq(self.size)[:, None]
        across = torch.fft.rfftfreq(self.size)[None]
        frequency = torch.sqrt(down.square() + across.square()).clamp_min(1 / self.size).to(spectrum.device)
        scaled = torch.view_as_complex(spectrum.contiguous()) / frequency**self.decay
        channels = torch.fft.irfft2(scaled, s=(self.size, self.size))
        image = torch.einsum("chw,cd->dhw", channels, torch.tensor(COLOURS, device=spectrum.device))
        image = image - image.mean()
        return (0.5 + self.contrast * image / image.std().clamp_min(1e-12)).clamp(0, 1) * 255


def synthesise(
    respond: Callable[[Tensor], Tensor],
    sign: int,
    prior: Prior,
    steps: int = 200,
    rate: float = 0.05,
    seed: int = 0,
    device: torch.device | None = None,
) -> np.ndarray:
    """An image that drives a response as far up, or down, as the prior lets it.

    Args:
        respond: From pixels (n, 3, size, size) to responses (n,), with gradients.
        sign: 1 drives it up, -1 down.
        prior: What the image is like.
        steps: Of Adam.
        rate: Its rate.
        seed: Of the noise that it starts from, and of the shifts.
        device: Where; the processor without one.

    Returns:
        uint8 (size, size, 3).
    """
    random = torch.Generator().manual_seed(seed)
    start = torch.randn(3, prior.size, prior.size // 2 + 1, 2, generator=random)
    spectrum = start.to(device or "cpu").requires_grad_()
    optimizer = torch.optim.Adam([spectrum], lr=rate)
    most = round(prior.size * LARGEST_SHIFT)
    for _ in range(steps):
        shift = torch.randint(-most, most + 1, (2,), generator=random).tolist()
        optimizer.zero_grad()
        (-sign * respond(prior.pixels(spectrum).roll(shift, (1, 2))[None])).sum().backward()
        # Where a filter sees nothing its energy, a root, has no gradient.
        spectrum.grad = None if spectrum.grad is None else spectrum.grad.nan_to_num(0, 0, 0)
        optimizer.step()
    image = prior.pixels(spectrum.detach()).round().to(torch.uint8)
    return image.permute(1, 2, 0).cpu().numpy()
