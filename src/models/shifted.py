"""ShiftedEncoder: a backbone that is trained on images shifted at random."""

from torch import Tensor

from ..batch import Features, FeatureShapes
from ..encoders import Encoder
from ..errors import InputError
from .trunks.shallow_cnn import shifted


class ShiftedEncoder(Encoder):
    """Shifts each image by a few pixels at random in training, and is the encoder itself in evaluation.

    Recordings hold few images for a network that starts at random, and responses tolerate small shifts. Mirroring, as
    classifiers are trained with, they do not: receptive fields have a place.

    Args:
        encoder: The backbone.
        pixels: Greatest shift, along both axes, of images as the data serve them; the image's edge goes on outwards.
    """

    def __init__(self, encoder: Encoder, pixels: int = 3) -> None:
        super().__init__()
        if pixels < 0:
            raise InputError(f"--model.backbone.pixels {pixels}: expected 0 or more")
        self.encoder = encoder
        self.pixels = pixels

    def forward(self, images: Tensor) -> Features:
        if self.training and self.pixels:
            images = shifted(images.float(), self.pixels, "replicate").to(images.dtype)  # bytes cannot be padded so
        return self.encoder(images)

    def feature_shapes(self) -> FeatureShapes:
        return self.encoder.feature_shapes()

    def token_places(self) -> dict[str, Tensor]:
        return self.encoder.token_places()

    def settings(self) -> dict[str, object]:
        return {"of": self.encoder.identity(), "pixels": self.pixels}
