"""Small pictures inside a page."""

import base64
from io import BytesIO

from PIL import Image


def embedded_jpeg(image: Image.Image, side: int) -> str:
    """A JPEG as a page embeds it.

    Args:
        image: Of any size; it stays as it is.
        side: Pixels of the longer side of the picture.
    """
    small = image.convert("RGB")
    small.thumbnail((side, side))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=72)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
