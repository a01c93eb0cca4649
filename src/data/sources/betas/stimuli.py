"""The images that trials showed: files in a folder, or packed into one file."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ....errors import InputError
from ....recording import Stimuli
from ...packed_images import ENDING, PackedImages
from ...stimuli import IMAGE_SUFFIXES, ImageFiles

_FOLDERS = ("stimuli/images", "stimuli", "images")


def find_images(root: Path, flag: Path | None) -> Path:
    """The folder of images, or the file that holds them all.

    Args:
        root: Of the data set.
        flag: Where the user says they are; looked for in the root where None.

    Raises:
        InputError: There are none.
    """
    places = [root / folder for folder in _FOLDERS] if flag is None else [flag]
    packed = [path for place in (*places, root) if place.is_dir() for path in sorted(place.glob(f"*{ENDING}"))]
    found = [*packed, *(place for place in places if place.is_dir() or (flag and place.is_file()))]
    if not found:
        raise InputError(
            f"{places[-1]}: expected a folder of the images that trials showed, or a file *{ENDING}, found none; put "
            "it there, or name it with --data.source.images"
        )
    return found[0]


def open_images(place: Path, labels: Sequence[str], table: Path) -> Stimuli:
    """The images of some labels, in that order.

    Args:
        place: As `find_images` gives it.
        labels: As trials name them.
        table: Of the trials, for messages.

    Raises:
        InputError: Some are not there, or a name leads out of the folder.
    """
    if place.is_file():
        return PackedImages(place, labels)
    folder = place.resolve()
    paths: list[Path] = []
    first: dict[Path, str] = {}
    missing = []
    for label in labels:
        name = PurePosixPath(label.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{table}: expected names of images within {place}, found {label!r}; correct it")
        path = folder / name
        endings = [path.with_name(f"{path.name}{end}") for end in IMAGE_SUFFIXES] if not path.is_file() else [path]
        there = [each for each in endings if each.is_file()]
        if len(there) > 1:
            raise InputError(
                f"{table}: expected names of images with their endings where several have one name, found {label!r} "
                f"for {' and '.join(each.name for each in there)}; add them"
            )
        for each in there:
            if first.setdefault(each, label) != label:
                raise InputError(
                    f"{table}: expected one name for each image, found {first[each]!r} and {label!r} for {each.name}; "
                    "write both in one way"
                )
        paths += there
        missing += [] if there else [label]
    if missing:
        raise InputError(
            f"{place}: expected {len(labels)} images that {table.name} names, found no file for {len(missing)} of "
            f"them, such as {missing[0]}; add them, or name their folder with --data.source.images"
        )
    return ImageFiles(paths)
