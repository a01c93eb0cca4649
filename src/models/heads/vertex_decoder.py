"""VertexDecoder: one network that is told the place of the target that it predicts."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...batch import Facts, Features, FeatureShapes, flatten
from ...errors import InputError
from .base import Head
from .positional import check_places, group_centres, places_in_roi, sinusoids

LAYERS = 6


class VertexDecoder(Head):
    """One stack of layers for all targets, each given the stimulus's features and a target's place.

    The features and the encoding of the place are joined and go through six layers, each a 1×1 convolution over
    targets, batch norm and LeakyReLU, then through a seventh convolution to one number. The place is joined again at
    every layer. All targets share all weights, so that tens of thousands cost no more weights than one does.

    A place is encoded by sinusoids in mm, relative to the centre of the target's smallest ROI (of those in none, of
    their hemisphere), beside the encoding of that centre: without the centre, targets at the same place within
    different ROIs would all be predicted alike (a simulated subject with 34 ROIs, one seed: test correlation 0.27 with
    centres, 0.13 without).

    Weights are applied to parts: W · [v; p] = W_v · v + W_p · p, so that the first layer's work on the features is
    done once per stimulus, and every layer's work on places once per target. Batch norm's statistics are those over all
    stimuli and all targets of the batch, whatever the chunk. In training only each layer's output before batch norm is
    kept, 4 · width bytes for each target, stimulus and layer; the rest is computed again, chunk by chunk, when
    gradients are. In evaluation one chunk goes through all layers at a time.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        width: Of each layer.
        dropout: Share of the values that training drops after every second layer; published: 0.2.
        residual: Each convolution's output is added to the one before, as in pre-activation residual networks
            (He et al. 2016, "Identity mappings").
        frequencies: Wavelengths by which each dimension of a place is encoded, from 4 to 400 mm.
        chunk: Targets computed at a time: fewer take less memory and, but for the pattern of dropout, change nothing.

    Raises:
        InputError: A number is out of range; in `fill`, a target's place is unknown.
    """

    encoding: Tensor

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        width: int = 64,
        dropout: float = 0.0,
        residual: bool = False,
        frequencies: int = 8,
        chunk: int = 1024,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        for name, (number, least) in {
            "width": (width, 1),
            "frequencies": (frequencies, 2),
            "chunk": (chunk, 1),
        }.items():
            if number < least:
                raise InputError(f"--model.head.{name} {number}: expected {least} or more")
        if not 0 <= dropout < 1:
            raise InputError(f"--model.head.dropout {dropout:g}: expected a share from 0 to below 1")
        self.dropout, self.residual, self.chunk = dropout, residual, chunk
        encoded = 2 * 3 * 2 * frequencies  # of the place in the ROI and of the ROI's
        self.frequencies = frequencies
        self.register_buffer("encoding", torch.zeros(num_targets, encoded))
        inputs, outputs = [self.num_features, *[width] * LAYERS], [*[width] * LAYERS, 1]
        self.layers = nn.ModuleList(nn.Linear(i + encoded, o) for i, o in zip(inputs, outputs, strict=True))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(LAYERS))

    def check(self, facts: Facts) -> None:
        check_places(facts, "VertexDecoder")

    def fill(self, facts: Facts) -> None:
        self.check(facts)
        places, centres = places_in_roi(facts.coordinates, facts.groups), group_centres(facts.coordinates, facts.groups)
        self.encoding.copy_(torch.cat([sinusoids(each, self.frequencies) for each in (places, centres)], dim=1))

    def forward(self, features: Features) -> Tensor:
        vector = flatten(features)  # (B, num_features)
        first = F.linear(vector, self._on_input(0))[:, None]  # (B, 1, width): the same for every target
        places = [self._on_place(index) for index in range(LAYERS + 1)]  # each (T, width), the last (T, 1)
        chunks = [slice(start, start + self.chunk) for start in range(0, self.num_targets, self.chunk)]
        if self.training and len(vector):
            decoded = self._decode(first, places, chunks)
        else:
            decoded = [part for chunk in chunks for part in self._decode(first, places, [chunk])]
        return torch.cat(decoded, dim=1).squeeze(2)  # (B, T)

    def _decode(self, first: Tensor, places: list[Tensor], chunks: list[slice]) -> list[Tensor]:
        """Predictions of chunks of targets, each (B, targets, 1), layer by layer."""
        # What each layer's convolution makes of all but the place, of each chunk; the first's is broadcast.
        products = [first for _ in chunks]
        for index in range(LAYERS):
            norm, own = self.norms[index], [places[index][chunk] for chunk in chunks]
            assert isinstance(norm, nn.BatchNorm1d)
            scale, shift = self._normalisation(norm, products, own)
            block = partial(self._block, index)
            products = [
                checkpoint(
                    block, product, place, scale, shift, use_reentrant=False, preserve_rng_state=self._drops(index)
                )
                for product, place in zip(products, own, strict=True)
            ]
        return [product + places[LAYERS][chunk] for product, chunk in zip(products, chunks, strict=True)]

    def _block(self, index: int, product: Tensor, place: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """From one convolution's product to the next one's, without the place's part.

        Args:
            index: The layer.
            product: (B, targets, width), or (B, 1, width) where it is the same for all targets.
            place: (targets, width).
            scale: Of batch norm, (width,).
            shift: Of batch norm, (width,).
        """
        joined = product + place  # (B, targets, width)
        hidden = F.leaky_relu(torch.addcmul(shift, joined, scale))
        hidden = F.dropout(hidden, self.dropout, training=self._drops(index))
        following = F.linear(hidden, self._on_input(index + 1))
        return following + joined if self.residual and index + 1 < LAYERS else following

    def _drops(self, index: int) -> bool:
        return self.training and self.dropout > 0 and index % 2 == 1

    def _normalisation(
        self, norm: nn.BatchNorm1d, products: list[Tensor], places: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Scale and shift (width,) of batch norm over all stimuli and all targets of these chunks.

        In training it moves the running statistics, once, because it lies outside of what is computed again.
        """
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if self.training and len(products[0]):
            counts = [len(product) * len(place) for product, place in zip(products, places, strict=True)]
            moments = [
                checkpoint(_moments, product, place, use_reentrant=False, preserve_rng_state=False)
                for product, place in zip(products, places, strict=True)
            ]
            mean, variance = _pooled(moments, counts)
            with torch.no_grad():
                count, momentum = sum(counts), norm.momentum
                assert momentum is not None
                norm.running_mean.lerp_(mean.to(norm.running_mean), momentum)
                norm.running_var.lerp_((variance * count / max(count - 1, 1)).to(norm.running_var), momentum)
                assert norm.num_batches_tracked is not None
                norm.num_batches_tracked.add_(1)
        else:
            mean, variance = norm.running_mean, norm.running_var
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return scale.to(norm.weight), (norm.bias - mean * scale).to(norm.weight)

    def _on_input(self, index: int) -> Tensor:
        """Weights of a layer on what is not the place, (outputs, inputs)."""
        layer = self.layers[index]
        assert isinstance(layer, nn.Linear)
        return layer.weight[:, : -self.encoding.shape[1]]

    def _on_place(self, index: int) -> Tensor:
        """What a layer makes of each target's place, with its bias, (num_targets, outputs)."""
        layer = self.layers[index]
        assert isinstance(layer, nn.Linear)
        return F.linear(self.encoding, layer.weight[:, -self.encoding.shape[1] :], layer.bias)


def _moments(product: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and mean of a chunk over stimuli and targets, in single precision at least, (width,) each."""
    joined = product + place
    joined = joined.to(torch.promote_types(joined.dtype, torch.float32))
    variance, mean = torch.var_mean(joined, dim=(0, 1), correction=0)
    return variance, mean


def _pooled(moments: list[tuple[Tensor, Tensor]], counts: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and variance over all chunks, from each one's variance and mean (Chan et al. 1983)."""
    variances, means = (torch.stack(each) for each in zip(*moments, strict=True))  # (chunks, width) each
    shares = torch.tensor(counts, dtype=means.dtype, device=means.device)[:, None] / sum(counts)
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0)
