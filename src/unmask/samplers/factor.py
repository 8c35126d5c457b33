"""As many positions as are sure enough for their number."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF, top_within_row
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Stateless
from unmask.samplers.options import check_options, flag, number


@dataclass(frozen=True)
class Factor(Stateless):
    """Reveal the n surest positions, n the largest number with c_(n) >= 1 - factor / (n + 1).

    c is the largest token probability, sorted (Fast-dLLM, Wu et al. 2025, arXiv 2505.22618). Always reveals at least
    one position per unfinished row. Does not look at drawn tokens.

    published: count as Fast-dLLM's code does, which reveals the last position along with the one before it, however
        unsure it is: its loop cannot tell a last position that fails from one that holds.
    """

    factor: float = number(1.0, 0)
    published: bool = flag(False)

    def __post_init__(self) -> None:
        check_options(self)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Count on the sorted values, take by rank."""
        sure = denoised.to_rows(denoised.top2[:, 0], NEG_INF).where(canvas.masked, NEG_INF)  # [B, L]
        size = torch.arange(1, sure.shape[-1] + 1, device=sure.device)  # n = 1..L
        holds = sure.sort(dim=-1, descending=True).values >= 1 - self.factor / (size + 1)
        count = torch.where(holds, size, 1).amax(dim=-1)  # [B]
        if self.published:
            left = canvas.masked.sum(dim=-1)
            count = torch.where(count == left - 1, left, count)
        return Selection(top_within_row(sure, canvas.masked, count), sure), state
