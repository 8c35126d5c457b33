"""The denoiser's last answer, kept for the next step without its vocabulary rows."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised


@dataclass(frozen=True)
class Previous:
    """What the denoiser said at the step before, for the rows that are still there: a part of a sampler's state.

    Kept is the answer itself. Where a network makes its logits when asked, that is the hidden states of the positions
    masked then, [M, D]; log-probabilities [M, V] are made again in chunks, one more pass of the output head a step, and
    are at no time all held. (A small vocabulary has its [M, V] made once, and then that is what is kept.)

    denoised: None before the first step. place: long [B], each row's place in that answer; -1 where it has none.
    """

    denoised: Denoised | None
    place: Tensor

    @staticmethod
    def nothing(canvas: Canvas) -> "Previous":
        """Before the first step."""
        return Previous(None, torch.full_like(canvas.row, -1))

    @staticmethod
    def of(denoised: Denoised) -> "Previous":
        """The answer to a whole canvas."""
        return Previous(denoised, torch.arange(denoised.shape[0], device=denoised.where.device))

    def take_rows(self, rows: Tensor) -> "Previous":
        """Some rows of it."""
        return replace(self, place=self.place[rows])

    def where_rows(self, chosen: Tensor, other: "Previous") -> "Previous":
        """Row by row this one where `chosen` (bool [B]), else `other`: the same answer, or none."""
        assert self.denoised is None or other.denoised is None or self.denoised is other.denoised
        denoised = other.denoised if self.denoised is None else self.denoised
        return Previous(denoised, torch.where(chosen, self.place, other.place))

    def divergence(self, now: Denoised) -> Tensor:
        """float64 [M]: KL(now || previous) at the positions of `now`, in nats; infinite where it said nothing."""
        found = torch.full((len(now.where),), torch.inf, dtype=torch.float64, device=now.where.device)
        if self.denoised is None:
            return found
        if self.denoised.vocabulary != now.vocabulary:
            raise UserError(
                f"the denoiser has a vocabulary of {now.vocabulary} at this step, and had {self.denoised.vocabulary} "
                "at the last: it must be the same throughout"
            )
        count = len(self.denoised.where)
        number = self.denoised.to_rows(torch.arange(count, device=now.where.device), -1)  # [B, L] then
        row, column = now.where.unbind(dim=-1)
        place = self.place[row]
        before = torch.where(place >= 0, number[place.clamp(min=0), column], -1)  # [M], -1: not masked then
        for chunk in now.chunks():
            known = before[chunk] >= 0
            if bool(known.any()):
                log_now = now.logits(chunk)[known].double().log_softmax(dim=-1)
                log_then = self.denoised.logits_at(before[chunk][known]).double().log_softmax(dim=-1)
                prob = log_now.exp()
                terms = torch.where(prob > 0, prob * (log_now - log_then), 0.0)
                found[chunk] = found[chunk].masked_scatter(known, terms.sum(dim=-1))
        return found
