"""The ancestral sampler that also masks again, by chance."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Edit
from unmask.samplers.foresight import before_first, steps_at_a_time, tossed
from unmask.samplers.options import check_options, flag, number


class Written(NamedTuple):
    """start: bool [B, L], what was masked at the start. probability: float64 [B, L], of each token when written."""

    start: Tensor
    probability: Tensor


@dataclass(frozen=True)
class ReMDM:
    """Re-mask written positions with probability sigma; reveal masked ones so that the marginals stay right.

    From time t to s, with a = 1 - t the share written, sigma = min(eta, (1 - a_s) / a_t), and a masked position is
    revealed with probability (a_s - (1 - sigma) a_t) / (1 - a_t) (ReMDM "cap", Wang et al. 2025, arXiv 2503.00307). On
    the linear grid of T steps with n left a_t = 1 - n/T, a_s = a_t + 1/T; at the last step sigma is 0 and all is
    revealed. At eta 0 it is `iid`. The paper uses eta from .02 to .1.

    conf: position i is re-masked with sigma softmax(-c)_i over the written positions, c_i the probability of its token
        when it was last written, so about sigma of them a step in all; masked ones are then revealed as with sigma 0
        ("conf" of the paper). Looks at drawn tokens, whose probability this is.

    A step may change nothing, and then costs no denoiser call. A row that is all written ends, early or not; the
    original would go on to its last step. State: what was masked at the start, and c.
    """

    eta: float = number(0.02, 0, 1)
    conf: bool = flag(False)
    may_be_empty: ClassVar[bool] = True
    rereads: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def reads_tokens(self) -> bool:
        """With `conf`: it has to know what was written."""
        return self.conf

    def init(self, canvas: Canvas) -> Written:
        """Nothing is written."""
        return Written(canvas.masked, torch.ones_like(canvas.tokens, dtype=torch.float64))

    def edit(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: Written, draws: StepDraws
    ) -> tuple[Edit, Written]:
        """A coin for every position, masked or written."""
        mine = state.start & ~canvas.masked
        revealed, sigma = self._chances(canvas, canvas.steps_left)  # [B] each
        reveal = canvas.masked & (draws.uniform("reveal") < revealed[:, None])
        remask = mine & (draws.uniform("remask") < self._shared(sigma[:, None], mine, state))
        if not self.conf:
            return Edit(reveal, remask), state
        assert written is not None
        said = denoised.to_rows(denoised.log_prob(denoised.from_rows(written)).double().exp(), 1.0)
        return Edit(reveal, remask), Written(state.start, torch.where(reveal, said, state.probability))

    def idle(self, canvas: Canvas, denoised: Denoised, state: Written, draws: StepDraws) -> Tensor:
        """Until a coin comes up, of a masked position or a written one."""
        mine = state.start & ~canvas.masked & canvas.unfinished[:, None]
        left = steps_at_a_time(canvas, canvas.masked, mine)  # [S, B]
        revealed, sigma = self._chances(canvas, left)
        chance = self._shared(sigma[..., None], mine, state)
        some = tossed(draws, "reveal", canvas.masked, revealed[..., None]) | tossed(draws, "remask", mine, chance)
        return before_first(some)

    def _chances(self, canvas: Canvas, steps_left: Tensor) -> tuple[Tensor, Tensor]:
        """float64 [..., B] each, with so many steps left: of a masked position to be revealed, and sigma."""
        total, left = canvas.budget.double(), steps_left.clamp(min=1).double()
        now, then = 1 - left / total, 1 - (left - 1) / total  # a_t, a_s
        sigma = ((1 - then) / now).where(now > 0, torch.inf).clamp(max=self.eta)
        shared = torch.zeros_like(sigma) if self.conf else sigma
        return (then - (1 - shared) * now) / (1 - now), sigma

    def _shared(self, sigma: Tensor, mine: Tensor, state: Written) -> Tensor:
        """[..., B, L], or [..., B, 1] for all alike: the chance of each written position to be masked again."""
        if not self.conf:
            return sigma
        weight = (-state.probability).exp().where(mine, 0.0)
        whole = weight.cumsum(dim=-1)[:, -1:]  # from left to right: the rounding must not depend on padding
        return sigma * weight / whole.where(whole > 0, 1.0)
