"""QueryDecoder: each ROI asks the image's tokens for what its targets need."""

from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes
from ...errors import InputError
from ...findings import Attention
from .attention import CrossAttention, MeanAttention, Tokens
from .base import Head
from .chunks import in_chunks
from .cortical import CorticalNetwork
from .positional import check_places

Queries = Literal["roi", "target", "place"]


class QueryDecoder(Head):
    """Queries attend to the tokens of an image, and what a query gathers is read out by its targets' linear weights.

    The routing of "Transformer brain encoders explain human high-level visual responses" (Adeli, Sun & Kriegeskorte
    2025;
    submitted to the Algonauts 2023 challenge): a learnt query of each ROI, the tokens of an encoder, with learnt
    positions, as keys and values. Tokens are those of every layer: patches and class tokens, the cells of maps, or a
    vector as a single token. Unlike there, queries do not attend to each other, so that a ROI's attention is its own
    and queries of single targets can be computed chunk by chunk.

    A target in several ROIs is read from the query of the smallest; targets in none have a query of their own (of each
    hemisphere). Queries of single targets cost (batch, width) numbers each and are computed twice: for a few thousand
    targets, or a GPU.

    Args:
        feature_shapes: Shape of one stimulus's features by layer: tokens (tokens, channels), maps (channels, rows,
            columns), or vectors (channels,).
        num_targets: Targets to predict.
        queries: Who asks: each ROI; each target; or each target by its place on cortex, from which a small network
            makes its query.
        width: Of queries, keys and values.
        heads: Of the attention.
        blocks: Cross-attentions, each with a perceptron behind it.
        dropout: Share of what each part adds that training drops.

    Raises:
        InputError: A number is out of range, or a layer has more axes; in `fill`, a place on cortex is unknown.
    """

    groups: Tensor

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        queries: Queries = "roi",
        width: int = 256,
        heads: int = 8,
        blocks: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        for name, number in {"heads": heads, "blocks": blocks}.items():
            if number < 1:
                raise InputError(f"--model.head.{name} {number}: expected 1 or more")
        if width < 1 or width % heads:
            raise InputError(f"--model.head.width {width}: expected a multiple of --model.head.heads {heads}")
        if not 0 <= dropout < 1:
            raise InputError(f"--model.head.dropout {dropout:g}: expected a share from 0 to below 1")
        self.tokens = Tokens(feature_shapes, width)
        self.blocks = nn.ModuleList(CrossAttention(width, heads, dropout) for _ in range(blocks))
        self.queries: Queries = queries
        self.random_state = torch.get_rng_state()  # whatever is drawn before the facts come, queries start alike
        self.places = CorticalNetwork(num_targets, width, width) if queries == "place" else None
        # Of ROIs the number is known when they are filled; places have one query, to which the network adds.
        count = {"roi": 0, "target": num_targets, "place": 1}[queries]
        self.query = nn.Parameter(torch.randn(count, width))
        self.weight = nn.Parameter(torch.zeros(num_targets, width))
        self.bias = nn.Parameter(torch.zeros(num_targets))
        self.dropout = dropout
        self.register_buffer("groups", torch.zeros(num_targets, dtype=torch.int64), persistent=False)
        self.rois: list[str] = []
        self.watched: MeanAttention | None = None

    def check(self, facts: Facts) -> None:
        if self.queries == "place":
            check_places(facts, "QueryDecoder", "--model.head.queries roi")
        if facts.frames is not None:
            raise InputError(
                "--model.head QueryDecoder: expected one set of features, found those of each frame of a clip; leave "
                "out --data.average_frames false, or put a FramewiseHead around it"
            )

    def fill(self, facts: Facts) -> None:
        if self.places is not None:
            self.places.fill(facts, "QueryDecoder")
        self.rois = list(facts.group_names)
        self.groups.copy_(facts.groups)
        if not len(self.query):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(self.random_state)
                drawn = torch.randn(len(self.rois), self.query.shape[1])
            self.query = nn.Parameter(drawn.to(self.query.device))
        if self.watched is None:
            self.watched = MeanAttention(len(self.rois), self.tokens.count).to(self.query.device)

    def forward(self, features: Features) -> Tensor:
        keys, values = self.tokens(features)  # (B, tokens, width)
        if self.queries == "roi":
            return self._of_rois(self._gathered(self.query, keys, values)) + self.bias
        heads = self._blocks()[0].attention.num_heads
        held = len(keys) * (keys.shape[2] * 8 * len(self.blocks) + heads)
        read = in_chunks(
            self._of_targets, held, (self._queries(), self.weight), (keys, values), self.training and self.dropout > 0
        )
        return read + self.bias

    @torch.no_grad()
    def watch(self, features: Features, subject: int) -> None:
        if self.watched is None or not len(next(iter(features.values()))):
            return
        keys, values = self.tokens(features)
        queries, groups = self._queries(), torch.arange(len(self.query), device=keys.device)
        if self.queries != "roi":
            groups = self.groups
        size = max(1, (1 << 25) // keys.shape[:2].numel())
        for own, group in zip(queries.split(size), groups.split(size), strict=True):
            self.watched.update(self._looked(own, keys, values), group, len(keys))

    def attention(self) -> Attention | None:
        if self.watched is None:
            return None
        weight = self.watched.compute().float().cpu().numpy()  # (ROIs, tokens)
        self.watched.reset()
        by_layer = dict(zip(self.tokens.counts, np.split(weight, self.tokens.ends[:-1], axis=1), strict=True))
        return Attention(self.rois, by_layer, self.tokens.places())

    def _queries(self) -> Tensor:
        return self.query if self.places is None else self.query + self.places()

    def _blocks(self) -> list[CrossAttention]:
        return cast("list[CrossAttention]", list(self.blocks))

    def _gathered(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What queries (q, width) gather from each stimulus, (B, q, width)."""
        gathered = query.expand(len(keys), -1, -1)
        for block in self._blocks():
            gathered = block(gathered, keys, values)
        return gathered

    def _looked(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Where queries (q, width) look, (q, tokens): mean over blocks and heads, sum over stimuli."""
        gathered, found = query.expand(len(keys), -1, -1), query.new_zeros(len(query), keys.shape[1])
        for block in self._blocks():
            found = found + block.looked(gathered, keys, values).sum(0) / len(self.blocks)
            gathered = block(gathered, keys, values)
        return found

    def _of_targets(self, query: Tensor, weight: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return torch.einsum("btw,tw->bt", self._gathered(query, keys, values), weight)

    def _of_rois(self, gathered: Tensor) -> Tensor:
        """Predictions (B, num_targets) but for the bias, ROI by ROI: what is gathered is not copied for each target."""
        order = self.groups.argsort(stable=True)
        sizes = self.groups.bincount(minlength=len(self.query)).tolist()
        weights = self.weight.index_select(0, order).split(sizes)
        read = [own @ weight.T for own, weight in zip(gathered.unbind(1), weights, strict=True)]
        return torch.cat(read, dim=1).index_select(1, order.argsort())
