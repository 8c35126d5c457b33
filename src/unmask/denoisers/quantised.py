"""Checkpoints whose weights are packed into few bits: known by what they say and by what their tensors are called."""

import re
from typing import Any

from unmask.core.errors import UserError
from unmask.core.typed import brief
from unmask.denoisers.checkpoint import Checkpoint

ENTRIES = ("quantization_config", "compression_config", "quantization")  # of a config.json
# What stands beside, or in place of, a weight: GPTQ and AWQ, fp8, bitsandbytes, compressed-tensors, MLX.
PACKED = re.compile(
    r".*\.(?:qweight|qzeros|scales|g_idx|weight_scale|weight_scale_inv|weight_packed|weight_zero_point|input_scale|"
    r"absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format|quant_state\..*)|.*\.weight\.(?:absmax|"
    r"quant_map|nested_absmax|nested_quant_map|quant_state\..*)"
)


def refuse_quantised(checkpoint: Checkpoint) -> None:
    """Raise UserError, naming what says so, if the weights are quantised."""
    for name in ENTRIES:
        about = checkpoint.config.get(name)
        if about:
            what = method(about)
            raise UserError(
                f"{checkpoint.path} is quantised: config.json has `{name}` ({what}); give the checkpoint it was made "
                "from, or take the entry out if its weights are not packed"
            )
    packed = sorted(name for name in checkpoint.tensors if PACKED.fullmatch(name))
    if packed:
        raise UserError(
            f"{checkpoint.path} is quantised: it has {packed[0]}"
            + (f" and {len(packed) - 1} more of the kind" if len(packed) > 1 else "")
            + "; give the checkpoint it was made from, in float32, float16 or bfloat16"
        )


def method(about: Any) -> str:
    """How, in a few words."""
    if not isinstance(about, dict):
        return brief(about)
    told = [about.get(name) for name in ("quant_method", "fmt", "format")] + [
        f"{about[name]} bits" for name in ("bits", "w_bit") if name in about
    ]
    told += ["4 bits"] * (about.get("load_in_4bit") is True) + ["8 bits"] * (about.get("load_in_8bit") is True)
    return ", ".join(str(word) for word in told if word) or brief(about)
