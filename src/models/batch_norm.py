"""Batch norm that also takes batches of which nothing can be normalised."""

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over stimuli that treats a training batch of fewer than two of them as in evaluation.

    One stimulus has no spread, and torch refuses it. Where batches mix subjects, or many ranks share few stimuli, a
    head may be given one stimulus or none: it then goes through the running statistics, which stay as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        if len(input) > 1:
            return super().forward(input)
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
