"""What the samplers that re-mask share."""

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.samplers.base import AnyUnmasker, Editor


def refuse_editor(wrapper: str, unmasker: AnyUnmasker) -> None:
    """Raise UserError if `unmasker` re-masks: `wrapper` (a noun) decides on what is revealed once and for all."""
    if isinstance(unmasker, Editor):
        name = type(unmasker).__name__
        raise UserError(f"{wrapper} does not go with {name}, which re-masks what it wrote; only blocks do (block=32)")


def confidence(canvas: Canvas, denoised: Denoised) -> Tensor:
    """float64 [B, L]: probability of the token that stands there, of the most probable one where none does; else 0.

    Speaks of the positions `denoised` speaks of: after a reread the written ones are among them.
    """
    likely = denoised.to_rows(denoised.top2_tokens[:, 0], 0)
    tokens = torch.where(canvas.masked, likely, canvas.tokens)
    return denoised.to_rows(denoised.log_prob(denoised.from_rows(tokens)).double().exp(), 0.0)
