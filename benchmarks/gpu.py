"""On a GPU: share of its bandwidth, and how far the work around its kernels holds them up.

    uv run python benchmarks/gpu.py [PART…]          # linear, ridge, extraction, finetuning, study; all: 8 minutes

- linear: `trainer.fit` of a linear head on 39,548 targets (benchmarks/epoch.py), against its products and AdamW, and
  the share of the card's bandwidth that these take: fused AdamW reads weight, gradient and two moments and writes
  three of them, and the products read the weight and write its gradient, 9 passes over 283 MB a step;
- ridge: 8,857 stimuli, 512 features, 39,548 targets, 5 folds, against himalaya on the same card, data copied to it
  included;
- extraction: ViT-B/32 in bf16 from JPEG files into the cache, against its bare forward pass;
- finetuning: `trainer.fit` of ResNet-50 with all its weights on decoded images, in bf16, against a plain loop;
- study: eight trials by two workers on one card, against one worker.

Without a GPU the same code runs on the processor at a small part of these sizes, and says so: that tells whether the
script works, and nothing of a GPU. Not measured on one so far. Predicted: linear 1.3 of the bare products, since
responses are copied from the host in each step, and .8 of the bandwidth; ridge 3 times; extraction bound by decoding in
four threads, .3; finetuning .9; two workers .6 of one's time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import epoch
import extract
import ridge
import torch
import torchvision
from brain import Brain, make_trainer
from calcarine.data.datamodule import EncodingDataModule
from calcarine.data.features.embeddings import EmbeddingCache
from calcarine.data.stimuli import ImageFiles
from calcarine.encoders import TorchvisionEncoder
from calcarine.models import EncodingModule, Full
from side_by_side import finished, in_turn, ratio, row, told
from torch import Tensor, nn

PASSES = 9  # over the weights in a step of fused AdamW


@dataclass(frozen=True)
class Sizes:
    """How much is measured, and where."""

    device: str
    targets: int
    stimuli: int
    images: int
    network: str
    backbone: str
    side: int
    repetitions: int
    trials: int


GPU = Sizes("cuda", 39_548, 8_857, 2_048, "vit_b_32", "resnet50", 224, 5, 8)
REHEARSAL = Sizes("cpu", 200, 300, 32, "vit_b_32", "resnet18", 224, 1, 2)


def linear(sizes: Sizes) -> None:
    """A linear head on the whole brain."""
    epochs = 20 if sizes.device == "cuda" else 1
    ways = {way.__name__: partial(way, sizes.targets, epochs, sizes.device) for way in (epoch.bare, epoch.fit)}
    source = torch.empty(2**28 if sizes.device == "cuda" else 2**20, device=sizes.device)
    sink = torch.empty_like(source)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        seconds = in_turn({**ways, "copy": partial(copied, source, sink, sizes.device)}, sizes.repetitions)
        os.chdir("/")
    told(seconds, f"{epochs} epochs of {sizes.targets:,} targets", None)
    figure(sizes, "trainer.fit of a linear head over its products and AdamW", ratio(seconds, "fit", "bare"), "≤ 1.15")
    moved = PASSES * 4 * sizes.targets * epoch.FEATURES * epoch.STEPS * epochs
    share = ratio(seconds, "copy", "fit") * moved / (2 * source.nbytes)
    figure(sizes, "share of the card's bandwidth that a linear head's training takes", share, "≥ 0.6")


def figure(sizes: Sizes, name: str, value: float, demanded: str) -> None:
    """A row of the table of figures, which a rehearsal has no part in."""
    if sizes.device == "cuda":
        row(f"GPU: {name}", value, demanded)
    else:
        print(f"rehearsed: {name} ({demanded})")


def copied(source: Tensor, sink: Tensor, device: str) -> float:
    """Seconds of a copy on the device."""
    finished(device)
    start = time.perf_counter()
    sink.copy_(source)
    finished(device)
    return time.perf_counter() - start


def ridge_regression(sizes: Sizes) -> None:
    """Ridge on the whole brain, from arrays of the host to weights of the host."""
    args = argparse.Namespace(stimuli=sizes.stimuli, features=512, penalties=10, folds=5)
    data = ridge.simulate(args, sizes.targets)
    backend = "torch_cuda" if sizes.device == "cuda" else "torch"
    ways: dict[str, Callable[[], object]] = {
        "calcarine": partial(ridge.ours, data, device=sizes.device, fold=data.fold.to(sizes.device)),
        "himalaya": partial(ridge.himalaya, data, backend),
    }
    seconds = in_turn(ways, sizes.repetitions)
    told(seconds, f"ridge, {sizes.stimuli:,} stimuli, {sizes.targets:,} targets", None)
    figure(sizes, "ridge, himalaya's time over ours", ratio(seconds, "himalaya", "calcarine"), "≥ 3")


def extraction(sizes: Sizes) -> None:
    """From files to features, and the network alone."""
    with tempfile.TemporaryDirectory() as name:
        stimuli = ImageFiles(extract.write(Path(name) / "images", sizes.images))
        stimuli.digests()
        encoder = TorchvisionEncoder(sizes.network, "random", ["encoder.layers.encoder_layer_11"]).eval()
        network = torchvision.models.get_model(sizes.network).eval().to(sizes.device)
        batch = torch.randn(extract.BATCH, 3, 224, 224, device=sizes.device)
        ways: dict[str, Callable[[], object]] = {
            "extraction": partial(extracted, encoder, stimuli, Path(name), sizes.device),
            "bare": partial(forward, network, batch, sizes),
        }
        forward(network, batch, sizes)
        seconds = in_turn(ways, sizes.repetitions)
    told(seconds, f"{sizes.network} in bf16, {sizes.images} images", None)
    figure(sizes, "extraction in bf16: share of the bare pass's rate", ratio(seconds, "bare", "extraction"), "≥ 0.95")


def extracted(encoder: TorchvisionEncoder, stimuli: ImageFiles, folder: Path, device: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        EmbeddingCache(Path(cache), precision="bf16-mixed").embed(stimuli, encoder, torch.device(device), extract.BATCH)


def forward(network: nn.Module, batch: Tensor, sizes: Sizes) -> None:
    with torch.autocast(sizes.device, torch.bfloat16):
        extract.forward(network, batch, sizes.images)
    finished(sizes.device)


def finetuning(sizes: Sizes) -> None:
    """All weights of a backbone, trained for an epoch after one that is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        ways: dict[str, Callable[[], object]] = {"fit": partial(tuned, sizes), "loop": partial(tuned_by_hand, sizes)}
        seconds = in_turn(ways, sizes.repetitions)
        os.chdir("/")
    told(seconds, f"{sizes.backbone}, all weights, {sizes.images} images", None)
    figure(sizes, "fine-tuning, trainer.fit over a plain loop", ratio(seconds, "fit", "loop"), "≤ 1.1")


def tuned(sizes: Sizes) -> float:
    """Seconds of `trainer.fit` from its first batch on, divided by its epochs."""
    source = Brain(4_000 if sizes.device == "cuda" else 50, sizes.images, 32, 8)
    data = EncodingDataModule(source, None, image_size=sizes.side, batch_size=extract.BATCH)
    backbone = TorchvisionEncoder(sizes.backbone, "random", ["embedding"])
    model = EncodingModule(data.num_targets, data.feature_shapes, backbone=backbone, finetuning=Full())
    first, epochs = epoch.FirstBatch(), 3
    trainer, writer = make_trainer(epochs, first, accelerator=sizes.device, precision="bf16-mixed")
    trainer.fit(model, data)
    finished(sizes.device)
    seconds = time.perf_counter() - first.start
    writer.wait()
    return seconds / epochs


def tuned_by_hand(sizes: Sizes) -> float:
    """Seconds of an epoch of a loop over images that are on the device."""
    backbone = TorchvisionEncoder(sizes.backbone, "random", ["embedding"]).to(sizes.device)
    width = backbone.feature_shapes()["embedding"][0]
    head = nn.Linear(width, 4_000 if sizes.device == "cuda" else 50, device=sizes.device)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], fused=True)
    images = torch.randint(0, 255, (extract.BATCH, 3, sizes.side, sizes.side), dtype=torch.uint8, device=sizes.device)
    responses = torch.randn(extract.BATCH, head.out_features, device=sizes.device)
    backbone.train()

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(sizes.device, torch.bfloat16):
            error = head(backbone(images)["embedding"].flatten(1)) - responses
        error.float().square().mean(0).sum().backward()
        optimizer.step()

    step()
    finished(sizes.device)
    start = time.perf_counter()
    for _ in range(-(-sizes.images // extract.BATCH)):
        step()
    finished(sizes.device)
    return time.perf_counter() - start


def study(sizes: Sizes) -> None:
    """One study, by one worker and by two that share a card."""
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], object]] = {
            f"{workers} workers": partial(searched, workers, sizes, Path(folder)) for workers in (1, 2)
        }
        seconds = in_turn(ways, 1)
    told(seconds, f"a study of {sizes.trials} trials", None)
    figure(sizes, "a study by two workers over one", ratio(seconds, "2 workers", "1 workers"), "≤ 0.7")


def searched(workers: int, sizes: Sizes, folder: Path) -> None:
    flags = [f"--trials={sizes.trials}", f"--workers={workers}", "--pruner=none", f"--study=of_{workers}"]
    accelerator = "gpu" if sizes.device == "cuda" else "cpu"
    command = [sys.executable, "-m", "calcarine", "tune", *flags, f"--trainer.accelerator={accelerator}"]
    subprocess.run([*command, "--trainer.devices=1"], cwd=folder, check=True, capture_output=True)


PARTS = {
    "linear": linear,
    "ridge": ridge_regression,
    "extraction": extraction,
    "finetuning": finetuning,
    "study": study,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is named")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"expected parts among {', '.join(PARTS)}, found {sorted(unknown)[0]}")
    there = torch.cuda.is_available()
    if there:
        print(f"on {torch.cuda.get_device_name()}")
    else:
        print("no GPU here: a rehearsal on the processor, whose figures say nothing of one")
    for name in options.parts or PARTS:
        start = time.perf_counter()
        PARTS[name](GPU if there else REHEARSAL)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
