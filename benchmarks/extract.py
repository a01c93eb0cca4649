"""Extraction from JPEG files into the cache, against the bare forward pass of the same network.

ResNet-50 and ViT-B/32 of torchvision with random weights, 256 JPEG files of 425 × 425 pixels (those of the Natural
Scenes Dataset). Extraction hashes the weights (350 MB of the second take .8 s, whatever the number of images), opens,
decodes, resizes, encodes and writes; the bare passes are given tensors of the network's size: contiguous, channels
last, and, with --compiled, compiled by torch beforehand.

    uv run python benchmarks/extract.py [--images 256] [--repetitions 5] [--threads 2] [--compiled]

Predicted: .9 of the fastest uncompiled pass, since decoding in threads takes a tenth of the processor. Images come from
files with their channels last, and keep that order through resizing, so convolutions run as fast as they can without a
choice of the network's memory format. Measured on 2 cores, other work stopped: .83 (ResNet-50) and .91 (ViT-B/32) of
the fastest uncompiled pass: resizing takes 4 % and the rest is decoding, hashing and writing, on the same two cores.
Compiled by torch the bare passes take .78 and .93 of their time, after 11 and 20 s of compiling.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchvision
from calcarine.data.features.embeddings import EmbeddingCache
from calcarine.data.stimuli import ImageFiles
from calcarine.encoders import TorchvisionEncoder
from PIL import Image
from side_by_side import in_turn, ratio, row, told
from torch import Tensor, nn

NETWORKS = {"resnet50": "layer4", "vit_b_32": "encoder.layers.encoder_layer_11"}
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compiled", action="store_true", help="also time compiled networks")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write(folder / "images", options.images)
        for network, layer in NETWORKS.items():
            encoder = TorchvisionEncoder(network, weights="random", layers=[layer]).eval()
            ways: dict[str, Callable[[], object]] = {
                "extraction": partial(extract, encoder, files, folder / "cache"),
                **bare(torchvision.models.get_model(network).eval(), options.images, options.compiled),
            }
            seconds = in_turn(ways, options.repetitions)
            told(seconds, f"{network}, {options.images} images", options.threads)
            fastest = min(list(ways)[1:], key=lambda way: sorted(seconds[way])[len(seconds[way]) // 2])
            share = ratio(seconds, fastest, "extraction")
            row(f"Extraction, {network}: share of the bare pass's rate, {fastest}", share, "≥ 0.95")


def write(folder: Path, count: int) -> list[Path]:
    """JPEG files of smooth noise, which compresses as photographs do."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for index in range(count):
        small = Image.fromarray(rng.integers(0, 255, (53, 53, 3), dtype=np.uint8))
        files.append(folder / f"image{index:04d}.jpg")
        small.resize((425, 425), Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return files


def extract(encoder: TorchvisionEncoder, files: list[Path], cache: Path) -> float:
    """Seconds from files to features on the disk; what tells the files apart is there, as in a second study."""
    stimuli = ImageFiles(files)
    stimuli.digests()
    shutil.rmtree(cache, ignore_errors=True)
    start = time.perf_counter()
    EmbeddingCache(cache).embed(stimuli, encoder, torch.device("cpu"), BATCH)
    return time.perf_counter() - start


def bare(network: nn.Module, count: int, compiled: bool) -> dict[str, Callable[[], object]]:
    """Forward passes of random batches."""
    contiguous = torch.randn(BATCH, 3, 224, 224)
    last = contiguous.to(memory_format=torch.channels_last)
    ways: dict[str, Callable[[], object]] = {
        "contiguous": partial(forward, network, contiguous, count),
        "channels last": partial(forward, network, last, count),
    }
    if compiled:
        faster = torch.compile(network)
        forward(faster, last, BATCH)
        ways["compiled"] = partial(forward, faster, last, count)
    return ways


@torch.inference_mode()
def forward(network: Callable[[Tensor], Tensor], batch: Tensor, count: int) -> None:
    for _ in range(0, count, BATCH):
        network(batch)


if __name__ == "__main__":
    main()
