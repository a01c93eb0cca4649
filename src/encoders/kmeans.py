"""Spherical k-means, which learns a dictionary from whitened patches."""

import torch
from torch import Tensor

ROW_BLOCK = 8192


def spherical_kmeans(points: Tensor, count: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Directions that points cluster along (Coates & Ng 2012, "Learning feature representations with k-means").

    Each point belongs to the direction with which its inner product is largest in size, either sign; a direction is
    the sum of its points, each weighted by that product, and of itself, at length 1.

    Args:
        points: float (N, D), of mean 0 and decorrelated.
        count: Number K of directions.
        iterations: 10 are enough for patches.
        generator: Of the first directions, and of those whose points have all gone.

    Returns:
        (K, D), rows of length 1.
    """
    centroids = torch.nn.functional.normalize(torch.randn(count, points.shape[1], generator=generator))
    for _ in range(iterations):
        sums = torch.zeros_like(centroids)
        sizes = torch.zeros(count)
        for block in points.split(ROW_BLOCK):
            products = block @ centroids.T  # (n, K)
            nearest = products.abs().argmax(1)
            weights = products.gather(1, nearest[:, None])  # (n, 1)
            sums.index_add_(0, nearest, weights * block)
            sizes.index_add_(0, nearest, torch.ones(len(block)))
        empty = sizes == 0
        # A direction without points would stay so: it starts again from a point.
        sums[empty] = points[torch.randint(len(points), (int(empty.sum()),), generator=generator)]
        centroids = torch.nn.functional.normalize(sums + centroids * ~empty[:, None])
    return centroids
