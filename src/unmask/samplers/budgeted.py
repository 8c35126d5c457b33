"""Any sampler, kept to the pace its budget asks for."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import even_quota, rank_within_row
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Unmasker, Wrapper
from unmask.samplers.editors import refuse_editor


@dataclass(frozen=True)
class Budgeted(Wrapper):
    """Top up what `inner` chose to the even quota, so that nothing piles up at the last step.

    The quota is what is masked split evenly over the steps left; positions are added by `inner`'s priority.
    With `exact` a choice is also cut, by priority, so that at least one position remains for each later step:
    a row with m masked positions and N steps then takes exactly min(N, m). Without it, at most that.

    Always reveals something, also where `inner` would not, so it is never empty. Looks at drawn tokens if
    `inner` does. Inside a wrapper that restricts the canvas, the quota counts what that leaves open.
    """

    inner: Unmasker
    exact: bool = False
    may_be_empty: ClassVar[bool] = False

    def __post_init__(self) -> None:
        refuse_editor("a pace", self.inner)

    def init(self, canvas: Canvas) -> State:
        """The inner sampler's state."""
        return self.inner.init(canvas)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """What `inner` chose comes first, then the rest, each by priority; the quota says how far to go."""
        chosen, state = self.inner.select(canvas, denoised, written, state, draws)
        return top_up(canvas, chosen, self.exact), state


def top_up(canvas: Canvas, chosen: Selection, exact: bool = False) -> Selection:
    """`chosen` with as many more as the even quota asks for, by priority; see `Budgeted`."""
    wanted = chosen.positions & canvas.masked
    count, quota = wanted.sum(dim=-1), even_quota(canvas.masked, canvas.steps_left)
    take = torch.maximum(count, quota)
    if exact:
        spare = canvas.masked.sum(dim=-1) - (canvas.steps_left - 1)
        take = torch.minimum(take, torch.maximum(spare, quota))  # quota: 1 if steps outnumber positions
    rank = torch.where(
        wanted,
        rank_within_row(chosen.priority, wanted),
        rank_within_row(chosen.priority, canvas.masked & ~wanted) + count[:, None],
    )
    return Selection(canvas.masked & (rank < take[:, None]), chosen.priority)
