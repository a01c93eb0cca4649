"""`calcarine predict`: a trained model's responses to new images."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="RUN", help="a run's folder, a package, or a checkpoint")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="a folder of images, or one image")
    parser.add_argument(
        "--roi", nargs="+", metavar="NAME", help="these targets alone: V1v of both sides, lh.V1v of one"
    )
    parser.add_argument("--subject", help="this subject's targets alone")
    parser.add_argument("--batch_size", type=int, help="images at a time; without, as many as in training")
    parser.add_argument(
        "--out", type=Path, default=Path("predicted"), help="folder to write, new or empty; default %(default)s"
    )


def _run(options: Namespace) -> None:
    from ..python.predicting import predict_folder
    from ..run.main import quieten

    quieten()
    predict_folder(options.model, options.images, options.roi, options.subject, options.batch_size, options.out)


PREDICT = Command(
    "predict",
    "predict the responses to new images with a trained model",
    "calcarine predict runs/NAME/version_0 --images DIR --roi V1v --out predicted",
    _add_arguments,
    _run,
)
