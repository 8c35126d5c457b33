"""Precisions by name, and which to train in where the settings leave it to the machine."""

import torch

from unmask.core.registry import check_name

# What a denoiser may be loaded in.
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# `auto` becomes one of the others before a run starts, so that what a run records is what it used.
PRECISIONS = ("auto", "bf16", "fp32")


def resolve_precision(precision: str, device: str) -> str:
    """`bf16` or `fp32`: what was asked for, or for `auto` bf16 where the hardware multiplies in it.

    Without such instructions a CPU is some twenty times slower in bfloat16 than in float32, and says nothing.
    Raises UserError on a name that is none of `PRECISIONS`.
    """
    check_name(precision, PRECISIONS, "precision")
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bfloat16(torch.device(device)) else "fp32"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster there than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return any(getattr(torch.cpu, f"_is_{name}_supported", bool)() for name in ("avx512_bf16", "amx_tile"))
    return False
