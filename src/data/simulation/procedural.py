"""Procedural images: natural statistics, and one labelled object in each.

A scene is a dead-leaves collage (shapes whose sizes follow a power law, each occluding those behind it; Lee, Mumford
& Huang 2001) of surfaces that carry 1/f texture (Field 1987), coloured as natural scenes are: most of the variance is
luminance, less is blue-yellow, least is red-green (Ruderman, Cronin & Chiao 1998). In it stands one object, whose
category is told by its shape alone: colours and textures of objects and of leaves come from the same distribution.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

CATEGORIES = ("body", "face", "place", "tool", "word")
SUPERSAMPLING = 2  # shapes are drawn at this many times the image's size, then averaged: smooth edges

_LEAVES = 90
_LEAF_RADII = (0.025, 0.45)  # of the image's width
_TEXTURE = 0.65  # standard deviation of texture beside that of the surfaces' own luminance
_GRAIN = 0.4  # of textures: amplitude along and across it differs by exp(0.8)
_CONTRAST = 3.5  # local contrast of every image, in logits summed over colours: no image drives all targets at once
_OPPONENT_STD = np.array([0.9, 0.25, 0.12])  # luminance, blue-yellow, red-green
_OPPONENT_TO_RGB = np.array([[1, 1, 1], [0.6, 0.6, -1.2], [1, -1, 0]])  # rows: one step along each opponent axis
_LOGIT = np.log(np.arange(0.5, 256) / (255.5 - np.arange(256))).astype(np.float32)

Polygon = np.ndarray  # (n_corners, 2) in the object's own frame: x to the right, y down, the object within ±1
Part = tuple[Polygon, float]  # a polygon and its step of luminance against the object's own


@dataclass(frozen=True)
class ObjectTable:
    """What each image shows.

    Args:
        category: Index into CATEGORIES, int64 (n_images,).
        centre: x from the left and y from the top, in image widths, float64 (n_images, 2).
        size: Half the object's extent in image widths, float64 (n_images,).
    """

    category: np.ndarray
    centre: np.ndarray
    size: np.ndarray


def place_objects(count: int, seed: tuple[int, ...]) -> ObjectTable:
    """Draw category, place and size of every image's object; independent of the image's size.

    Args:
        count: How many images.
        seed: Determines the table.
    """
    rng = np.random.default_rng(seed)
    category = rng.permutation(np.arange(count) % len(CATEGORIES))
    size = rng.uniform(0.17, 0.36, count)
    centre = 0.5 + rng.uniform(-1, 1, (count, 2)) * (0.52 - size[:, None])
    return ObjectTable(category, centre, size)


def render_image(objects: ObjectTable, index: int, image_size: int, seed: tuple[int, ...]) -> np.ndarray:
    """Render one image, uint8 (image_size, image_size, 3).

    It depends on its row of the table, the seed and the index alone, not on how many there are or who renders them;
    at every size it is the same scene with other texture. Scene and object have their own randomness: another object
    stands before the same scene, whose contrast alone differs.
    """
    rng, object_rng = np.random.default_rng((*seed, index)), np.random.default_rng((*seed, index, 1))
    # Four plain channels: in "RGBA" Pillow would weight colours by the fourth when it averages.
    side, ground = image_size * SUPERSAMPLING, _surfaces(1, rng)[0].tolist()
    canvas = Image.new("CMYK", (side, side), tuple(ground))
    draw = ImageDraw.Draw(canvas)
    for shapes, colours in (_leaves(rng), _object(objects, index, object_rng)):
        for corners, colour in zip(shapes, colours.tolist(), strict=True):
            draw.polygon((corners * side).ravel().tolist(), fill=tuple(colour))
    surfaces = np.asarray(canvas.reduce(SUPERSAMPLING))  # (S, S, 4)

    orientation = rng.uniform(0, np.pi)
    warp, weft = (pink_noise(image_size, _GRAIN, orientation + turn, rng) for turn in (0, np.pi / 2))
    cut = surfaces[..., 3] * np.float32(np.pi / 2 / 255)
    texture = np.cos(cut) * warp + np.sin(cut) * weft  # each surface its own mixture of two textures
    logit = _LOGIT[surfaces[..., :3]] + np.float32(_TEXTURE) * texture[..., None]
    logit *= np.float32(_CONTRAST) / _local_contrast(logit[..., 0] + logit[..., 1] + logit[..., 2])
    return np.round(255 / (1 + np.exp(-logit))).astype(np.uint8)


def _local_contrast(luminance: np.ndarray) -> float:
    """Deviation of the differences between neighbours 1/24 of the image apart, from (size, size)."""
    lag = max(1, len(luminance) // 24)
    across, down = luminance[:, lag:] - luminance[:, :-lag], luminance[lag:] - luminance[:-lag]
    return float(np.sqrt((np.square(across).mean() + np.square(down).mean()) / 2))


def pink_noise(size: int, grain: float, orientation: float, rng: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls as 1/f, float32 (size, size), of mean 0 and deviation 1.

    Args:
        size: Pixels on a side.
        grain: 0 for noise that is the same in all directions; its amplitude along and across the grain differs by
            a factor of exp(2 grain).
        orientation: Of the wave that is strongest, radians.
        rng: Source of randomness.
    """
    amplitude, cosine, sine = _frequency_plane(size)
    white = rng.standard_normal((size, size // 2 + 1, 2), dtype=np.float32).view(np.complex64)[..., 0]
    direction = cosine * np.float32(np.cos(2 * orientation)) + sine * np.float32(np.sin(2 * orientation))
    noise = np.fft.irfft2(white * (amplitude * np.exp(np.float32(grain) * direction)), s=(size, size))
    return noise / noise.std()


@cache
def _frequency_plane(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1/f, and the cosine and sine of twice the angle, at each cell of a half spectrum; float32."""
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    frequency, angle = np.hypot(rows, columns), 2 * np.arctan2(rows, columns)
    frequency[0, 0] = np.inf
    return (1 / frequency).astype(np.float32), np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _surfaces(count: int, rng: np.random.Generator) -> np.ndarray:
    """Colours of surfaces, RGB, and in the fourth channel each one's cut of the textures; int64 (count, 4)."""
    return _colours(rng.normal(0, _OPPONENT_STD, (count, 3)), rng.integers(256, size=count))


def _colours(opponent: np.ndarray, cut: np.ndarray | int) -> np.ndarray:
    """RGB and cut, int64 (n, 4), of opponent coordinates (n, 3)."""
    colours = np.empty((len(opponent), 4), dtype=np.int64)
    colours[:, :3] = np.clip(255 / (1 + np.exp(-opponent @ _OPPONENT_TO_RGB)), 3, 252)
    colours[:, 3] = cut
    return colours


def _leaves(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Leaves from the back to the front: corners in image widths (n, 24, 2), and colours (n, 4).

    Radii have density r^-3, for which a collage of leaves has the same statistics at every scale.
    """
    small, large = _LEAF_RADII
    radii = 1 / np.sqrt(small**-2 + rng.random(_LEAVES) * (large**-2 - small**-2))
    radii[: _LEAVES // 8] = rng.uniform(0.15, large, _LEAVES // 8)  # so that the ground is covered
    sides = rng.choice([3, 4, 6, 24, 24], _LEAVES)
    turn = rng.uniform(0, np.pi, _LEAVES)
    centres = rng.uniform(-0.1, 1.1, (_LEAVES, 2))

    step = 24 // sides[:, None]
    angle = np.arange(24) // step * step * (2 * np.pi / 24)  # corners coincide where there are fewer than 24
    along, across = radii * np.array([np.ones(_LEAVES), rng.uniform(0.4, 1, _LEAVES)])
    x, y = along[:, None] * np.cos(angle), across[:, None] * np.sin(angle)  # (n, 24)
    cosine, sine = np.cos(turn)[:, None], np.sin(turn)[:, None]
    corners = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1) + centres[:, None]
    return corners, _surfaces(_LEAVES, rng)


def _object(objects: ObjectTable, index: int, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """The object's parts from the back to the front: corners in image widths, and colours (n, 4)."""
    name = CATEGORIES[objects.category[index]]
    parts = {"body": _body, "face": _face, "place": _place, "tool": _tool, "word": _word}[name](rng)
    turn = rng.uniform(0, 2 * np.pi) if name == "tool" else rng.normal(0, 0.12)
    stretch = objects.size[index] * rng.uniform(0.85, 1, 2)
    corners = [_turned(part * stretch, turn) + objects.centre[index] for part, _ in parts]

    opponent = np.tile(rng.normal(0, _OPPONENT_STD), (len(parts), 1))
    sign = rng.choice([-1, 1])
    # Steps lead away from the object's own extreme, so that every part shows on light and dark objects alike.
    opponent[:, 0] = sign * (rng.uniform(0.7, 1.5) - np.array([step for _, step in parts]))
    return corners, _colours(opponent, int(rng.integers(256)))


def _face(rng: np.random.Generator) -> list[Part]:
    gap, eye_height, width = rng.uniform(0.26, 0.36), rng.uniform(-0.22, -0.08), rng.uniform(0.66, 0.8)
    fringe = rng.uniform(-0.62, -0.4)
    hair = _ellipse(0, 0, width, 1, 32)
    hair[:, 1] = np.minimum(hair[:, 1], fringe)
    parts: list[Part] = [(_ellipse(0, 0, width, 1, 32), 0.0), (hair, 1.6)]
    for side in (-gap, gap):
        parts += [
            (_box(side - 0.17, eye_height - 0.2, side + 0.17, eye_height - 0.13), 1.8),
            (_ellipse(side, eye_height, 0.17, 0.09, 16), 2.4),
            (_ellipse(side, eye_height, 0.07, 0.08, 12), 0.2),
        ]
    nose = np.array([[0, eye_height + 0.05], [0.12, 0.3], [-0.12, 0.3]])
    mouth = _ellipse(0, rng.uniform(0.52, 0.64), rng.uniform(0.22, 0.38), rng.uniform(0.05, 0.12), 16)
    return [*parts, (nose, 0.7), (mouth, 2.0)]


def _body(rng: np.random.Generator) -> list[Part]:
    waist, hips = rng.uniform(0.14, 0.2), rng.uniform(0.18, 0.26)
    torso = np.array([[-0.28, -0.6], [0.28, -0.6], [waist, -0.05], [hips, 0.15], [-hips, 0.15], [-waist, -0.05]])
    parts: list[Part] = [(_ellipse(0, -0.82, 0.15, 0.18, 20), 0.4), (torso, 0.0)]
    for side in (-1, 1):
        elbow = np.array([side * 0.26, -0.54]) + 0.38 * _direction(side * rng.uniform(0, 2.2))
        hand = elbow + 0.36 * _direction(side * rng.uniform(0, 2.6))
        knee = np.array([side * 0.13, 0.12]) + 0.44 * _direction(side * rng.uniform(-0.1, 0.6))
        foot = knee + 0.44 * _direction(side * rng.uniform(-0.4, 0.3))
        parts += [(_bar((side * 0.26, -0.54), elbow, 0.07), 0.4), (_bar(elbow, hand, 0.06), 0.4)]
        parts += [(_bar((side * 0.13, 0.12), knee, 0.1), 0.9), (_bar(knee, foot, 0.08), 0.9)]
    return parts


def _place(rng: np.random.Generator) -> list[Part]:
    eaves, width = rng.uniform(-0.4, -0.1), rng.uniform(0.75, 1)
    roof = np.array([[-width - 0.05, eaves], [rng.uniform(-0.5, 0.5), -1], [width + 0.05, eaves]])
    parts: list[Part] = [(_box(-width, eaves, width, 0.9), 0.0), (roof, 1.3), (_box(-1.15, 0.85, 1.15, 1.05), 1.7)]
    columns, rows = int(rng.integers(3, 6)), int(rng.integers(1, 3))
    height = (0.8 - eaves) / (rows + 1)
    for x in np.linspace(-width, width, columns + 2)[1:-1]:
        parts += [
            (_box(x - 0.11, eaves + (row + 0.3) * height, x + 0.11, eaves + (row + 0.85) * height), 2.2)
            for row in range(rows)
        ]
    door = rng.uniform(-0.5, 0.5) * width
    return [*parts, (_box(door - 0.14, 0.9 - 0.8 * height, door + 0.14, 0.9), 2.6)]


def _tool(rng: np.random.Generator) -> list[Part]:
    handle: Part = (_bar((-1, 0), (0.5, 0), rng.uniform(0.07, 0.13)), 1.2)
    kind = rng.integers(3)
    if kind == 0:  # a hammer
        return [handle, (_box(0.4, -0.5, 0.72, rng.uniform(0.25, 0.5)), 0.0)]
    if kind == 1:  # a spanner
        jaw = np.array([[0.66, -0.12], [1.1, -0.2], [1.1, 0.2], [0.66, 0.12]])
        return [handle, (_ellipse(0.7, 0, 0.32, 0.34, 20), 0.0), (jaw, 2.4)]
    blade = np.array([[0.3, -0.22], [0.9, -0.16], [1, 0.1], [0.3, 0.22]])  # a trowel
    return [handle, (blade, 0.0)]


def _word(rng: np.random.Generator) -> list[Part]:
    letters = int(rng.integers(3, 7))
    width, weight = 2 / letters, 0.16 / np.sqrt(letters)
    nodes = np.array([[column, row] for row in (-0.36, 0, 0.36) for column in (0.15, 0.8)])
    strokes = [(0, 2), (2, 4), (1, 3), (3, 5), (0, 1), (2, 3), (4, 5), (0, 3), (2, 5)]
    parts: list[Part] = []
    for letter in range(letters):
        corners = nodes * [width, 1] + [letter * width - 1, 0]
        for stroke in rng.choice(len(strokes), size=int(rng.integers(3, 6)), replace=False):
            start, end = strokes[stroke]
            parts.append((_bar(corners[start], corners[end], weight), 0.0))
    return parts


def _ellipse(x: float, y: float, width: float, height: float, corners: int) -> Polygon:
    angle = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def _box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _bar(start: tuple[float, float] | np.ndarray, end: tuple[float, float] | np.ndarray, weight: float) -> Polygon:
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = (end - start) / np.linalg.norm(end - start) * weight
    across = along[::-1] * [-1, 1]
    return np.array(
        [start + across - along / 2, end + across + along / 2, end - across + along / 2, start - across - along / 2]
    )


def _direction(angle: float) -> np.ndarray:
    """Unit vector at an angle from straight down, positive to the right."""
    return np.array([np.sin(angle), np.cos(angle)])


def _turned(corners: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return corners @ np.array([[cosine, sine], [-sine, cosine]])
