"""Explore one position at a time until the sure stretch stops growing, then write the stretch fast."""

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
from unmask.samplers.pick import pick_from_level


class Cycle(NamedTuple):
    """Where each row stands in its cycle.

    fast:     bool [B], whether the stretch is settled and being written.
    explored: long [B], exploring steps of this cycle.
    end:      long [B], the last column of the stretch, as far as is known; -1 before the first look.
    """

    fast: Tensor
    explored: Tensor
    end: Tensor


@dataclass(frozen=True)
class SlowFast:
    """Cycles of two stages: find a stretch of the text that is nearly sure, then write it in parallel.

    Slow: reveal the surest position, and note the farthest masked one with c >= `reach`; once the standard deviation
    of the last two such ends is under `spread`, or after `explore` steps, the last end closes the stretch. Fast:
    reveal all positions of the stretch with c >= `level`, always the surest; when nothing of it is masked the next
    cycle begins (SlowFast Sampling, Wei et al. 2025, arXiv 2506.10848). c is the largest token probability. **Ours**,
    where the paper leaves it open: one position at each slow step, the deviation is that of the two numbers themselves
    (half their distance), and without any c >= `reach` the stretch ends at the leftmost masked position.

    It has no schedule: what is left at the last step is revealed then (`pace=true` spreads it). State: the cycle. Does
    not look at drawn tokens.
    """

    explore: int = whole(6, 1)
    reach: float = number(0.3, 0, 1)
    spread: float = number(1.0, 0)
    level: float = number(0.9, 0, 1)
    reads_tokens: ClassVar[bool] = False
    may_be_empty: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, canvas: Canvas) -> Cycle:
        """Before the first exploring step."""
        return Cycle(
            fast=torch.zeros_like(canvas.step, dtype=torch.bool),
            explored=torch.zeros_like(canvas.step),
            end=torch.full_like(canvas.step, -1),
        )

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: Cycle, draws: StepDraws
    ) -> tuple[Selection, Cycle]:
        """A fast step inside the stretch where there is one with something left, else a slow one."""
        sure = denoised.to_rows(denoised.top2[:, 0], NEG_INF)  # [B, L]
        column = torch.arange(sure.shape[-1], device=sure.device)
        stretch = canvas.masked & (column <= state.end[:, None])
        fast = state.fast & stretch.any(dim=-1)

        leftmost = canvas.masked.long().argmax(dim=-1)
        reached = column.where(canvas.masked & (sure >= self.reach), -1).amax(dim=-1)
        end = torch.where(reached < 0, leftmost, reached)
        explored = torch.where(state.fast, 0, state.explored) + 1  # a stretch that is written starts a new cycle
        steady = (explored > 1) & ((end - state.end).abs() / 2 < self.spread)
        settled = steady | (explored >= self.explore)

        quick = pick_from_level(canvas.restrict(stretch), sure, self.level)
        slow = pick_from_level(canvas, sure, torch.inf)
        after = Cycle(
            fast=fast | settled,
            explored=torch.where(fast, state.explored, explored),
            end=torch.where(fast, state.end, end),
        )
        return Selection(torch.where(fast[:, None], quick, slow), sure), after
