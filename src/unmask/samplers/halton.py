"""Positions along a low-discrepancy sequence."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection
from unmask.samplers.options import choice, number
from unmask.samplers.schedule import FixedQuota


def first_visits(cells: Tensor, points: int) -> Tensor:
    """long [B, N], N = 2^ceil(log2 `points`): when the Halton sequence of base 2 first visits each of `cells` cells.

    The sequence is 1/2, 1/4, 3/4, 1/8, ...: the bits of 1, 2, 3, 4, ... mirrored at the point (van der Corput). Cell j
    of n (n at most `points`) is [j/n, (j+1)/n). All in whole numbers, so nothing is rounded. cells: long [B], n of each
    row. What is beyond a row's last cell is never visited: N + 1.
    """
    bits = max(points - 1, 1).bit_length() + 1
    total = 2 ** (bits - 1)  # so many points reach every cell of width 1/points or more
    count = torch.arange(1, total + 1, device=cells.device)
    mirrored = sum(((count >> bit) & 1) << (bits - 1 - bit) for bit in range(bits))  # over 2^bits
    assert isinstance(mirrored, Tensor)
    cell = (cells[:, None] * mirrored) >> bits  # [B, N]
    never = torch.full_like(cell, total + 1)
    return never.scatter_reduce(-1, cell, count.expand(cell.shape), "amin")


@dataclass(frozen=True)
class Halton(FixedQuota):
    """Reveal the n_t positions that a Halton sequence visits first.

    The positions masked at the start are cells of [0, 1); the sequence spreads its points evenly at any length, so
    what is revealed in one step lies far apart (Besnier et al. 2025, arXiv 2503.17076, who order the cells of an image
    with bases 2 and 3; a text has one dimension and takes base 2). n_t is what is masked split evenly over the steps
    left. State: each position's place in the order. Looks neither at drawn tokens nor at the denoiser.
    """

    schedule: str = choice("even", ("even", "linear"))
    eps: float = number(0.001, 0, 1)

    def init(self, canvas: Canvas) -> Tensor:
        """long [B, L]: when each position is visited; it means nothing where nothing is masked."""
        visits = first_visits(canvas.masked.sum(dim=-1), canvas.masked.shape[-1])
        number = (canvas.masked.long().cumsum(dim=-1) - 1).clamp(min=0)
        return visits.gather(-1, number)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: Tensor, draws: StepDraws
    ) -> tuple[Selection, Tensor]:
        """Score: minus the time of the first visit."""
        return self.pick(canvas, -state.double()), state
