"""Any sampler, until the answer is certain; then everything at once."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Unmasker, Wrapper, idle
from unmask.samplers.editors import refuse_editor
from unmask.samplers.options import check_answer

# (share of the budget spent, below which the gap holds; mean gap in nats), of Prophet
GAPS = ((0.33, 7.5), (0.67, 5.0), (float("inf"), 2.5))


class Region(NamedTuple):
    """answer: bool [B, L], where the answer stands. inner: the inner sampler's state."""

    answer: Tensor
    inner: State


@dataclass(frozen=True)
class EarlyExit(Wrapper):
    """Reveal all that is left as soon as the mean top-2 gap over the answer is large enough, else what `inner` says.

    The gap of a position is log p1 - log p2, that of its two largest logits. Enough is 7.5 while less than .33 of the
    budget is spent, 5 below .67, then 2.5 (Prophet, Li et al. 2025, arXiv 2508.19982). A step's share is that of the
    steps taken before it.

    answer: the positions averaged over: "all" of those masked at the start, or the last N of them (a whole number,
        where the prompt fixes how the response ends). Only those still masked count, as only there the denoiser
        speaks; once the answer is written the gap is infinite, and what is left is revealed.

    Outermost of all wrappers, so it does not wait for a block or a pace. Looks at drawn tokens, and may be empty,
    exactly if `inner` does.
    """

    inner: Unmasker
    answer: str | int = "all"

    def __post_init__(self) -> None:
        check_answer("answer", self.answer)
        refuse_editor("an early exit", self.inner)

    def init(self, canvas: Canvas) -> State:
        """The inner sampler's state; with it the region, where it is not everything."""
        if self.answer == "all":
            return self.inner.init(canvas)
        after = canvas.masked.long().flip(-1).cumsum(dim=-1).flip(-1)  # masked from here on, this one included
        return Region(canvas.masked & (after <= int(self.answer)), self.inner.init(canvas))

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Everything where the gap is large enough."""
        inner = state if self.answer == "all" else state.inner
        answer = canvas.masked if self.answer == "all" else canvas.masked & state.answer
        certain = mean_gap(denoised.only(answer), answer) >= enough(canvas)
        chosen, inner = self.inner.select(canvas, denoised, written, inner, draws)
        positions = chosen.positions | (canvas.masked & certain[:, None])
        return Selection(positions, chosen.priority), inner if self.answer == "all" else Region(state.answer, inner)

    def idle(self, canvas: Canvas, denoised: Denoised, state: State, draws: StepDraws) -> Tensor:
        """As long as `inner` is, and the gap asked for stays the same."""
        within = idle(self.inner, canvas, denoised, state if self.answer == "all" else state.inner, draws)
        for share, _ in GAPS[:-1]:
            until = (share * canvas.budget.double()).floor().long() - 1 - canvas.step  # a step of room for rounding
            within = torch.where(canvas.step < share * canvas.budget.double(), within.minimum(until), within)
        return within


def mean_gap(denoised: Denoised, answer: Tensor) -> Tensor:
    """float64 [B]: the mean of log p1 - log p2 over `answer` (bool [B, L]); infinite where it is empty."""
    top = denoised.top2.double().clamp(min=torch.finfo(torch.float32).tiny).log()  # [M, 2]
    gap = denoised.to_rows(top[:, 0] - top[:, 1], 0.0).where(answer, 0.0)
    total = gap.cumsum(dim=-1)[:, -1]  # from left to right, so that not even the rounding depends on padding
    count = answer.sum(dim=-1)
    return torch.where(count > 0, total / count.clamp(min=1), torch.inf)


def enough(canvas: Canvas) -> Tensor:
    """float64 [B]: the gap that ends each row now."""
    spent = canvas.step.double() / canvas.budget.double()
    wanted = torch.full_like(spent, GAPS[-1][1])
    for share, gap in reversed(GAPS[:-1]):
        wanted = torch.where(spent < share, gap, wanted)
    return wanted
