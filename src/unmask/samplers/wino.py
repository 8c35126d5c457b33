"""Draft widely, look again, take back what does not stand up."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import top_within_row
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Edit
from unmask.samplers.editors import confidence
from unmask.samplers.options import check_options, number, whole


class Drafts(NamedTuple):
    """start: bool [B, L], what was masked at the start. accepted: long [B], how many the last step revealed."""

    start: Tensor
    accepted: Tensor


@dataclass(frozen=True)
class WINO:
    """Reveal all with c > `draft`; re-mask what is written and, seen again, has c < `verify`.

    Drafts: with n masked at most min(max(share * n, least), most), the surest first, and at least the surest. Taken
    back: at most one fewer than the step before revealed, the least sure first, so that every two steps gain ground
    (WINO, Hong et al. 2025, arXiv 2507.18578). c is the probability of the most probable token where masked, and of the
    token that stands there, given the others, where written; needs a denoiser that rereads. A step verifies what stood
    there before it. State: what was masked at the start, and the last count. Does not look at drawn tokens.
    """

    draft: float = number(0.6, 0, 1)
    verify: float = number(0.9, 0, 1)
    share: float = number(0.7, 0, 1)
    least: int = whole(5, 1)
    most: int = whole(20, 1)
    reads_tokens: ClassVar[bool] = False
    may_be_empty: ClassVar[bool] = False
    rereads: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_options(self)

    def init(self, canvas: Canvas) -> Drafts:
        """Nothing was accepted yet."""
        return Drafts(canvas.masked, torch.zeros_like(canvas.step))

    def edit(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: Drafts, draws: StepDraws
    ) -> tuple[Edit, Drafts]:
        """Draft among the masked, verify the written."""
        sure = confidence(canvas, denoised)  # [B, L]
        left = canvas.masked.sum(dim=-1)
        most = (self.share * left.double()).floor().long().clamp(min=self.least).clamp(max=self.most)
        drafted = (canvas.masked & (sure > self.draft)).sum(dim=-1)
        reveal = top_within_row(sure, canvas.masked, torch.minimum(drafted, most).clamp(min=1))
        doubtful = state.start & ~canvas.masked & (sure < self.verify)
        remask = top_within_row(-sure, doubtful, (state.accepted - 1).clamp(min=0))
        return Edit(reveal, remask), Drafts(state.start, reveal.sum(dim=-1))
