"""`calcarine layers`: what a pretrained network can be asked for."""

import sys
from argparse import ArgumentParser, Namespace

from .command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="LIBRARY:MODEL", help="LIBRARY is torchvision, timm, open_clip or vone")


def _run(options: Namespace) -> None:
    from ..encoders.listing import layers_table

    sys.stdout.write(layers_table(options.model) + "\n")


LAYERS = Command(
    "layers",
    "list a model's layers with their output shapes",
    "calcarine layers timm:resnet50",
    _add_arguments,
    _run,
)
