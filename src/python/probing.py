"""`calcarine probe` on files: a trained model, a folder of images, and the folder that is written."""

from collections.abc import Sequence
from pathlib import Path

from ..atomic import whole_folder
from ..data.stimuli import list_images
from ..errors import InputError
from ..in_silico.experiment import Settings, probe
from ..in_silico.responding import named_sets
from ..package.files import check_free
from .trained import Decoded, load_model


def probe_folder(
    path: Path, images: Path, rois: Sequence[str] | None, subject: str | None, settings: Settings, out: Path
) -> None:
    """Write what drives each ROI of a trained model.

    Args:
        path: A run's folder, a package or a checkpoint.
        images: A folder of images, or one image.
        rois: These alone.
        subject: This subject's targets alone.
        settings: What is done.
        out: Folder to write; new or empty.

    Raises:
        InputError: A folder, a model, a ROI or an image is not what it has to be, a number is out of range, or the
            model reads clips; nothing is written then.
    """
    numbers = {
        "--top": (settings.ranked, 1),
        "--steps": (settings.steps, 1),
        "--size": (settings.prior.size, 16),
        "--synthesise": (settings.synthesised, 0),
        "--masks": (settings.masked, 0),
    }
    for flag, (found, least) in numbers.items():
        if found < least:
            raise InputError(f"{flag} {found}: expected {least} or more")
    if not images.exists():
        raise InputError(f"--images {images}: expected a folder of images, or one, found none; correct the path")
    check_free(out, images, path)
    files = list_images(images) if images.is_dir() else [images]
    model = load_model(path).module
    sets = named_sets(model, rois, subject)
    with whole_folder(out) as partial:
        probe(model, Decoded(files), [file.name for file in files], sets, settings, partial, f"What drives {path}")
    print(f"{out}/report.html: what drives {len(sets)} sets of targets, of {len(files)} images")  # noqa: T201 the answer
