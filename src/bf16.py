"""bfloat16: which devices compute in it, and which imitate it at many times the cost."""

import logging
import platform
from functools import cache

import torch

log = logging.getLogger(__name__)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by itself; True where nobody can tell.

    `torch.ops.mkldnn._is_mkldnn_bf16_supported` is another question: it says that products are possible, which they are
    on any processor with AVX-512, without these instructions at twice the time of float32.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):  # it is asked of the current one
            return torch.cuda.is_bf16_supported(including_emulation=False)
    known = _capabilities() if device.type == "cpu" else {}
    if known.get("architecture") == "x86_64":
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return bool(known.get("bf16", True))  # ARM says it by this name


@cache
def warn_of_imitated_bf16(flag: str, precision: object, device: torch.device) -> None:
    """Say so, once, where a flag asks for bfloat16 of a device that has none."""
    if precision != "bf16-mixed" or computes_in_bf16(device):
        return
    if device.type == "cuda":
        found, cost = torch.cuda.get_device_name(device), "slowly"
    else:
        name = _capabilities().get("cpu_name") or platform.processor() or platform.machine()
        found, cost = f"this processor ({name})", "convolutions up to 15 times slower than in 32-true"
    other = ", or use 16-mixed" if device.type == "cuda" and flag == "--trainer.precision" else ""
    log.warning(
        "%s %s: %s has no arithmetic for it and imitates it, %s; leave it out%s", flag, precision, found, cost, other
    )


def _capabilities() -> dict[str, object]:
    """What torch says of the processor; nothing before its release that says it."""
    return dict(getattr(torch.cpu, "get_capabilities", dict)())
