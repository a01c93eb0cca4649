"""PretrainedEncoder: what torchvision, timm and open_clip models have in common."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from ..batch import Features, FeatureShapes
from ..errors import InputError, one_line
from .base import Encoder, prepare_images
from .capture import Tap, did_you_mean, run_taps
from .checkpoint import SUFFIXES, load_state, read_state, strip_prefix
from .framing import Framing, Preprocess
from .hub import following
from .layouts import Layout, read_layouts
from .pooling import Pool, pool_features
from .token_order import Order, tell_orders, token_orders
from .tracing import BATCH, Event, Trace, prune, resolve, trace

EMBEDDING = "embedding"

T = TypeVar("T")


@dataclass(frozen=True)
class InputSpec:
    """What a model wants to be given.

    Args:
        size: Height and width in pixels.
        mean: Per colour channel, of values in [0, 1].
        std: Per colour channel.
        interpolation: "bilinear" or "bicubic".
        framing: How the model's own pipeline comes to the square; None where it has no one shape.
    """

    size: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    framing: Framing | None = None


class PretrainedEncoder(Encoder):
    """Layers of a model from a library, cut off after the last one asked for.

    The default layer "embedding" is what the model's classifier is given (for CLIP, the image embedding), averaged
    over space where it is still a map. Other layers have the names that `calcarine layers` lists. Modules that the
    asked layers do not need are removed, so that they cost nothing and checkpoints need not hold them.

    Args:
        model: The model's name in its library.
        weights: "pretrained" (the library's default), "random", the tag of published weights, or a local file
            (.pth, .pt, .safetensors).
        layers: One layer, or several; without, "embedding".
        pool: Reduce maps and tokens over space: "avg", "max", or an average on a grid of this many rows and
            columns. Class tokens are left out.
        image_size: Input size in pixels; without, the model's own.
        seed: Seed of random weights.
        preprocess: "whole": the whole image, squeezed into the model's square, because the subject saw all of it.
            "model": what the model's own pipeline cuts out of the middle.
    """

    library: ClassVar[str]
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str,
        weights: str = "pretrained",
        layers: list[str] | str | None = None,
        pool: Pool = None,
        image_size: int | None = None,
        seed: int = 0,
        preprocess: Preprocess = "whole",
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        self.seed = seed
        self.pool: Pool = pool
        self.preprocess: Preprocess = preprocess
        what = f"{self.library}:{model}"
        asked = [EMBEDDING] if layers is None else [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
        if not asked:
            raise InputError(
                "--data.encoder.layers: expected at least one layer, found an empty list; "
                f"`calcarine layers {what}` lists them"
            )
        for name, value in (("pool", pool), ("image_size", image_size)):
            if isinstance(value, int) and value < 1:
                raise InputError(
                    f"--data.encoder.{name}: expected at least 1, found {value}; leave it out for the default"
                )
        self.check_model(model)
        tag, file = self._weights(weights)
        network, spec = _seeded(seed, partial(self.build, model, tag, image_size, **self.options()))
        if preprocess == "model" and spec.framing is None:
            raise InputError(
                f"--data.encoder.preprocess model: expected a model whose own pipeline ends in a square, found {what}, "
                "which takes images of any shape; leave it out"
            )
        traced = trace_model(network, spec, what)
        embedding = self.embedding_tap(network, traced.events)
        if layers is None and embedding is None:
            raise InputError(
                f"{what} is no classifier and has no default layer: name some of `calcarine layers {what}` "
                "with --data.encoder.layers [NAME,…]"
            )
        taps = resolve(network, traced.events, asked, {} if embedding is None else {EMBEDDING: embedding}, what)
        # Pooling asks for the order of tokens, and that for what holds tokens on the way to them.
        read = list(taps.values()) if pool is None else traced.until(taps.values())
        layouts = self.read_layouts(model, network, traced, read, spec.size, self.options())
        self.layouts = {layer: layouts[tap] for layer, tap in taps.items()}
        self._check_pool(what)
        self.ordered = {layer: tap for layer, tap in taps.items() if self._needs_order(layer)}
        self.tokens = {tap: layout for tap, layout in layouts.items() if layout.kind == "tokens"}
        state = None if file is None else self.own_state(network, file)
        unneeded = prune(network, traced, taps)
        if file is not None and state is not None:
            load_state(network, state, unneeded, file)
        self.network = network.train()  # as any new module; the trace left it in evaluation mode
        self.spec = spec
        self.taps = taps
        self._orders: dict[str, Order] | None = None  # once they have been looked for
        self.register_buffer("mean", torch.tensor(spec.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(3, 1, 1), persistent=False)

    @classmethod
    @abstractmethod
    def models(cls) -> Collection[str]:
        """Names of all models of the library."""

    @classmethod
    @abstractmethod
    def tags(cls, model: str) -> Sequence[str]:
        """Tags of a model's published weights, the default first."""

    @classmethod
    @abstractmethod
    def build(cls, model: str, tag: str | None, image_size: int | None) -> tuple[nn.Module, InputSpec]:
        """Make the network with the weights of a tag, or random ones.

        The weights are looked for before anything is built: a big network takes seconds and gigabytes.

        Raises:
            InputError: The weights could not be fetched, are damaged, or hold other things than weights.
        """

    def options(self) -> dict[str, Any]:
        """Further arguments of the constructor that a subclass's `build` takes."""
        return {}

    @classmethod
    @abstractmethod
    def embedding_tap(cls, network: nn.Module, events: Sequence[Event]) -> Tap | None:
        """Where "embedding" is read; None where the model has no such place."""

    @classmethod
    def convert(cls, network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Bring a checkpoint from another layout, or for another image size, to the network's."""
        return state

    @classmethod
    def own_state(cls, network: nn.Module, file: Path) -> dict[str, Tensor]:
        """The tensors of a weight file that belong to a network, under its names; nothing in the file is trusted."""
        return cls.convert(network, strip_prefix(read_state(file), network.state_dict().keys(), file))

    @classmethod
    def check_model(cls, model: str) -> None:
        """Raises InputError where the library has no such model."""
        names = cls.models()
        if model not in names:
            raise InputError(f"{cls.library} has no model '{model}'{did_you_mean(model, names)}")

    @property
    def fetched(self) -> bool:
        return self.weights != "random"

    @classmethod
    def for_saved_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        # A file's weights go into the network that random ones are in; a tag may bring another input or activation.
        weights = arguments.get("weights", "pretrained")
        named = weights in ("pretrained", "random") or weights in cls.tags(arguments["model"])
        return arguments if named else {**arguments, "weights": "random"}

    def forward(self, images: Tensor) -> Features:
        framing = self.spec.framing if self.preprocess == "model" else None
        inputs = prepare_images(images, self.spec.size, self.spec.interpolation, self.mean, self.std, framing)
        orders = self._token_orders()
        return run_taps(self.network, self.taps, inputs, lambda layer, seen: self._reduce(layer, seen, orders))

    def settings(self) -> dict[str, object]:
        # The network's text tells apart what equal weights do not: another activation, another epsilon.
        architecture = sha256(str(self.network).encode()).hexdigest()
        return {
            "model": f"{self.library}:{self.model}",
            "architecture_sha256": architecture,
            "layers": sorted(self.taps),
            "pool": self.pool,
            "image_size": self.spec.size,
            "mean": list(self.spec.mean),
            "std": list(self.spec.std),
            "interpolation": self.spec.interpolation,
            "preprocess": self.preprocessing(),
            **self.options(),
        }

    def preprocessing(self) -> str:
        """What is done to an image before the network sees it, for people."""
        spec = self.spec
        if self.preprocess == "model":
            way = f"{spec.framing}, the middle {spec.size} × {spec.size} kept"
        else:
            way = f"the whole image squeezed to {spec.size} × {spec.size} pixels"
        return f"{way}, {spec.interpolation}"

    def randomised(self) -> "PretrainedEncoder":
        if self.weights == "random" and not following():
            raise InputError(
                "--data.random_control: compares weights with random ones, found --data.encoder.weights random; name "
                "others, or leave it out"
            )
        size = self.spec.size
        control = type(self)(self.model, "random", list(self.taps), self.pool, size, self.seed, **self.options())
        control.preprocess = self.preprocess
        # A library may give a model without these weights another normalisation.
        control.spec, control.mean, control.std = self.spec, self.mean, self.std
        return control

    def feature_shapes(self) -> FeatureShapes:
        """Shapes of one image's features by layer, known from the layouts."""
        like = {layer: torch.empty(1, *layout.captured, device="meta") for layer, layout in self.layouts.items()}
        return {layer: tuple(self._reduce(layer, seen, {}).shape[1:]) for layer, seen in like.items()}

    def token_places(self) -> dict[str, Tensor]:
        asked = [layer for layer, each in self.layouts.items() if each.kind == "tokens" and not self._pool_of(layer)]
        if not asked:
            return {}
        told = tell_orders(self.network, self.tokens, self.spec.size)
        orders = {layer: told[self.taps[layer]].order for layer in asked}
        return {layer: _places(self.layouts[layer], order) for layer, order in orders.items() if order is not None}

    @classmethod
    def read_layouts(
        cls, model: str, network: nn.Module, traced: Trace, taps: Collection[Tap], size: int, options: dict[str, Any]
    ) -> dict[Tap, Layout]:
        """What the axes of layers mean."""

        def of_size(size: int) -> nn.Module:
            with torch.random.fork_rng(devices=[]):
                return cls.build(model, None, size, **options)[0]

        return read_layouts(network, traced, taps, size, of_size)

    def _reduce(self, layer: str, seen: Tensor, orders: dict[str, Order]) -> Tensor:
        layout = self.layouts[layer]
        return pool_features(layout.serve(seen), layout, self._pool_of(layer), orders.get(layer))

    def _pool_of(self, layer: str) -> Pool:
        return self.pool or ("avg" if layer == EMBEDDING else None)

    def _check_pool(self, what: str) -> None:
        for layer, layout in self.layouts.items():
            if self.pool is not None and layout.kind == "flat":
                raise InputError(
                    f"--data.encoder.pool {self.pool}: expected layers with a place in the image, found '{layer}' of "
                    f"{what} ({layout}), whose axes are not known; leave pool out, or choose another layer"
                )

    def _needs_order(self, layer: str) -> bool:
        """Whether it matters where each token lies; a mean over all of them needs no order."""
        layout, pool = self.layouts[layer], self._pool_of(layer)
        return layout.kind == "tokens" and (isinstance(pool, int) or (pool is not None and layout.prefix > 0))

    def _token_orders(self) -> dict[str, Order]:
        """The order of each layer's tokens, looked for once, with the weights at hand, where it matters."""
        if self._orders is None:
            asked = self.ordered
            # The first forward may be a validation's, and what is made in inference mode cannot index in training.
            with torch.inference_mode(False):
                self._orders = token_orders(self.network, asked, self.tokens, self.spec.size) if asked else {}
        return self._orders

    def _weights(self, weights: str) -> tuple[str | None, Path | None]:
        """Tag of the published weights, or the local file; neither for random ones."""
        if weights == "random":
            return None, None
        tags = self.tags(self.model)
        if weights == "pretrained" and tags:
            return tags[0], None
        if weights in tags:
            return weights, None
        if Path(weights).exists() or weights.endswith(SUFFIXES) or "/" in weights:
            return None, Path(weights)
        raise InputError(
            f"--data.encoder.weights: {self.library}:{self.model} has no weights '{weights}'"
            f"{did_you_mean(weights, ['pretrained', 'random', *tags])}; expected random, a file, "
            f"{'pretrained, ' + ', '.join(tags) if tags else 'no pretrained ones are published'}"
        )


def trace_model(network: nn.Module, spec: InputSpec, what: str) -> Trace:
    """Trace a model on grey images of its own size.

    Raises:
        InputError: The model does not run on images (a video or optical-flow model), or not at this size.
    """
    try:
        return trace(network.eval(), torch.zeros(BATCH, 3, spec.size, spec.size))
    except Exception as error:  # whatever a library's model raises on input that it cannot take
        raise InputError(f"{what} cannot run on images of {spec.size}×{spec.size}: {one_line(error)}") from error


def _places(layout: Layout, order: Order) -> Tensor:
    """Row and column of each token, int64 (tokens, 2), -1 where it has no place."""
    rows, columns = layout.grid
    places = torch.full((layout.shape[0], 2), -1)
    places[order] = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).view(-1, 2)
    return places


def _seeded(seed: int, make: Callable[[], T]) -> T:
    """Call with a seeded generator and leave the global one as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()
