"""ResponseComponents: one recording's responses as a few components, and weights of these as weights of targets."""

import torch
from torch import Tensor

from ..heads.base import Head
from ..heads.linear import LinearHead


class ResponseComponents:
    """Principal components of one recording's standardised responses.

    Args:
        basis: Of `Facts.response_basis` the recording's targets, (K, T): rows are orthogonal, and as long as their
            component's standard deviation.
    """

    def __init__(self, basis: Tensor) -> None:
        self.basis = basis
        self.count = len(basis)
        self.onto = (basis / basis.square().sum(1, keepdim=True).clamp_min(torch.finfo(basis.dtype).tiny)).T  # (T, K)

    def of(self, responses: Tensor) -> Tensor:
        """Components (n, K) of responses (n, T), in their standard deviations; a response that is NaN is the mean."""
        return responses.nan_to_num(nan=0.0) @ self.onto.to(responses.dtype)

    def map_back(self, fitted: LinearHead, head: Head) -> None:
        """Write a head of the components into that of the targets."""
        assert isinstance(head, LinearHead)
        basis = self.basis.to(fitted.weight.dtype)
        head.weight.copy_(basis.T @ fitted.weight)
        head.bias.copy_(basis.T @ fitted.bias)
