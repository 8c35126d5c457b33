"""Positions far apart first, then those between them."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection


@dataclass(frozen=True)
class Dilated:
    """Reveal ceil(log2 G) groups of positions that are never neighbours, one group a step.

    The G positions masked at the start are numbered from 0; group t holds those that a spacing of 2^(R - t) reaches and
    no larger one did, R = ceil(log2 G): 0 and G/2, then the quarters, ..., at last every odd one; two positions are one
    group, the only neighbours that are ever revealed together (Dilated Unmasking Scheduler, Luxembourg et al. 2025,
    arXiv 2506.19037; where G is no power of two they round the spacings down). Its blocks are `dilated:block=32` here.
    It takes R steps, however many it may; with fewer, what is left is revealed at the last one, which `pace=true`
    spreads. State: each position's group. Looks neither at drawn tokens nor at the denoiser.
    """

    reads_tokens: ClassVar[bool] = False
    may_be_empty: ClassVar[bool] = False

    def init(self, canvas: Canvas) -> Tensor:
        """long [B, L]: the group of each position, from 0; it means nothing where nothing is masked."""
        number = (canvas.masked.long().cumsum(dim=-1) - 1).clamp(min=0)
        powers = 2 ** torch.arange(canvas.masked.shape[-1].bit_length() + 1, device=number.device)
        rounds = (powers < canvas.masked.sum(dim=-1, keepdim=True)).sum(dim=-1, keepdim=True)  # ceil(log2 G)
        twos = (number[..., None] % powers[1:] == 0).sum(dim=-1)  # how often 2 divides it; 0 counts as always
        return (rounds - 1 - twos).clamp(min=0)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: Tensor, draws: StepDraws
    ) -> tuple[Selection, Tensor]:
        """The first group with something left."""
        group = state.where(canvas.masked, torch.iinfo(state.dtype).max)
        now = group.amin(dim=-1, keepdim=True)
        return Selection(canvas.masked & (group == now), -state.double()), state
