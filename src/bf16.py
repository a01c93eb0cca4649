"""bfloat16: which devices compute in it, and which imitate it at many times the cost."""

import logging
import platform

import torch

log = logging.getLogger(__name__)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by itself; True where nobody can tell.

    `torch.ops.mkldnn._is_mkldnn_bf16_supported` is another question: it says that products are possible, which they are
    on any processor with AVX-512, without these instructions at twice the time of float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and _capabilities().get("architecture") == "x86_64":
        return any(_capabilities().get(each, False) for each in ("avx512_bf16", "amx_bf16"))
    return True


def warn_of_imitated_bf16(flag: str, precision: object, device: torch.device) -> None:
    """Say so where a flag asks for bfloat16 of a device that has none."""
    if precision == "bf16-mixed" and not computes_in_bf16(device):
        log.warning(
            "%s %s: %s has no arithmetic for it and imitates it, convolutions up to 15 times slower than in 32-true; "
            "leave it out%s",
            flag,
            precision,
            _named(device),
            ", or use 16-mixed" if device.type == "cuda" and flag == "--trainer.precision" else "",
        )


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"this processor ({_capabilities().get('cpu_name') or platform.processor() or platform.machine()})"


def _capabilities() -> dict[str, object]:
    """What torch says of the processor; nothing before its release that says it."""
    return dict(getattr(torch.cpu, "get_capabilities", dict)())
