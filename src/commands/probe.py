"""`calcarine probe`: what drives a trained model, and which part of an image does."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="RUN", help="a run's folder, a package, or a checkpoint")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="a folder of images to show it")
    parser.add_argument("--roi", nargs="+", metavar="NAME", help="these ROIs alone: V1v of both sides, lh.V1v of one")
    parser.add_argument("--subject", help="this subject's targets alone")
    parser.add_argument("--top", type=int, default=8, help="images shown from each end; default %(default)s")
    parser.add_argument(
        "--synthesise",
        type=int,
        default=1,
        metavar="N",
        help="images made of each ROI and each way; default %(default)s",
    )
    parser.add_argument("--steps", type=int, default=200, help="of their gradient ascent; default %(default)s")
    parser.add_argument("--size", type=int, default=224, help="their height and width; default %(default)s")
    parser.add_argument(
        "--masks", type=int, default=3, metavar="N", help="images of each ROI covered part by part; default %(default)s"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("probed"), help="folder to write, new or empty; default %(default)s"
    )


def _run(options: Namespace) -> None:
    from ..in_silico.experiment import Settings
    from ..in_silico.synthesis import Prior
    from ..python.probing import probe_folder

    settings = Settings(options.top, options.synthesise, options.steps, Prior(options.size), options.masks)
    probe_folder(options.model, options.images, options.roi, options.subject, settings, options.out)


PROBE = Command(
    "probe",
    "what drives a trained model: images, images made to, and which part of an image",
    "calcarine probe runs/NAME/version_0 --images DIR --roi V1v FFA-1 --out probed",
    _add_arguments,
    _run,
)
