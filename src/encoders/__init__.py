"""Encoders: images → features; they know nothing of brains."""

from .base import Encoder
from .gabor import GaborEncoder
from .joint import JointEncoder, RandomWeights
from .open_clip_encoder import OpenClipEncoder
from .patches import PatchEncoder
from .pixels import PixelEncoder
from .timm_encoder import TimmEncoder
from .torchvision_encoder import TorchvisionEncoder
from .vone import VOneEncoder

__all__ = [
    "Encoder",
    "PixelEncoder",
    "GaborEncoder",
    "PatchEncoder",
    "JointEncoder",
    "RandomWeights",
    "TorchvisionEncoder",
    "TimmEncoder",
    "OpenClipEncoder",
    "VOneEncoder",
]
