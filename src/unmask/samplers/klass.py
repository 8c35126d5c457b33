"""What is sure and has stopped changing, at once."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection
from unmask.samplers.options import check_options, number, whole
from unmask.samplers.pick import pick_quota
from unmask.samplers.previous import Previous


class Calm(NamedTuple):
    """For how many steps each position has hardly changed, and what the denoiser said last.

    steps: long [B, L]. previous: the last answer.
    """

    steps: Tensor
    previous: Previous


@dataclass(frozen=True)
class KLASS:
    """Reveal what has c > level and moved by less than `kl` in each of the last `window` steps.

    c is the largest token probability, the move KL(p_t || p_{t-1}) in nats. Where no position is like that, the n_t
    with the largest c, n_t being what is masked split evenly over the steps left (KLASS, Kim et al. 2025, arXiv
    2511.05664). The defaults are those for LLaDA; for Dream level .9, kl .001. A position needs `window` moves to be
    judged by, so the first `window` steps, in blocks those of each block, are always by quota.

    State: the counts, and the denoiser's last answer as `Previous` keeps it: hidden states [M, D] of the masked
    positions and a second pass of the output head a step, never [B, L, V]. Does not look at drawn tokens.
    """

    level: float = number(0.6, 0, 1)
    kl: float = number(0.015, 0)
    window: int = whole(2, 1)
    reads_tokens: ClassVar[bool] = False
    may_be_empty: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, canvas: Canvas) -> Calm:
        """Nothing was said before."""
        return Calm(torch.zeros_like(canvas.tokens), Previous.nothing(canvas))

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: Calm, draws: StepDraws
    ) -> tuple[Selection, Calm]:
        """The sure and calm ones, or the quota."""
        sure = denoised.to_rows(denoised.top2[:, 0], NEG_INF)  # [B, L]
        moved = denoised.to_rows(state.previous.divergence(denoised), torch.inf)
        steps = torch.where(moved < self.kl, state.steps + 1, 0)
        ready = canvas.masked & (sure > self.level) & (steps >= self.window)
        quota = pick_quota(canvas, sure).positions
        positions = torch.where(ready.any(dim=-1, keepdim=True), ready, quota)
        return Selection(positions, sure), Calm(steps, Previous.of(denoised))
