"""Encoders: images → features; they know nothing of brains."""

from .base import Encoder
from .gabor import GaborEncoder
from .open_clip_encoder import OpenClipEncoder
from .pixels import PixelEncoder
from .timm_encoder import TimmEncoder
from .torchvision_encoder import TorchvisionEncoder

__all__ = ["Encoder", "PixelEncoder", "GaborEncoder", "TorchvisionEncoder", "TimmEncoder", "OpenClipEncoder"]
