"""How many positions a step reveals, for the samplers that keep to a fixed number."""

from typing import ClassVar

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.errors import UserError
from unmask.core.numerics import even_quota
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State
from unmask.samplers.options import check_options
from unmask.samplers.pick import pick_quota

DREAM_EPS = 1e-3


def linear_quota(canvas: Canvas, eps: float) -> Tensor:
    """long [B]: of m masked positions floor(m (1 - s/t)), all of them at the last step; perhaps none.

    Step i of T goes from t = t_i to s = t_(i+1), numbers that fall evenly from 1 to `eps` in T steps (Dream, Ye et al.
    2025, arXiv 2508.15487, whose code has eps = 0.001). In float32, in which Dream's code cuts off, so that the counts
    are the same; of one row, where that code takes the mean over its batch. It reveals one or two late that an even
    split reveals early, and saves those for the last step.
    """
    left = canvas.masked.sum(dim=-1)
    step = canvas.step.clamp(min=0).minimum(canvas.budget - 1)
    share = 1 - grid(step + 1, canvas.budget, eps) / grid(step, canvas.budget, eps)
    return torch.where(canvas.last_step, left, (left * share).long())


def grid(index: Tensor, steps: Tensor, eps: float) -> Tensor:
    """float32 [B]: number `index` (long [B]) of those that fall evenly from 1 to `eps` in `steps` (long [B]) steps.

    To the last bit what `torch.linspace(1, eps, steps + 1)` has there, without making the others: counted from the
    nearer end, each product rounded once with its sum.
    """
    end = torch.tensor(eps, dtype=torch.float32, device=index.device)
    width = ((end - 1) / steps.float()).double()
    near = index < torch.div(steps + 1, 2, rounding_mode="floor")
    return torch.where(near, 1 + width * index, end.double() - width * (steps - index)).float()


class FixedQuota:
    """Base of the samplers that reveal n_t positions a step; subclasses are dataclasses with these two options.

    schedule: even splits what is masked evenly over the steps left, the remainder first (LLaDA, Nie et al. 2025, arXiv
        2502.09992); linear is Dream's (`linear_quota`), in which a step may reveal nothing, and then costs no call.
    eps: of the linear schedule.
    """

    schedule: str
    eps: float
    reads_tokens: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self)
        if self.schedule == "even" and self.eps != DREAM_EPS:
            raise UserError(f"eps={self.eps:g} is of the linear schedule: add schedule=linear")

    @property
    def may_be_empty(self) -> bool:
        """Under the linear schedule, where the share of a few positions may be none."""
        return self.schedule == "linear"

    def init(self, canvas: Canvas) -> State:
        """No state."""
        return None

    def idle(self, canvas: Canvas, denoised: Denoised, state: State, draws: StepDraws) -> Tensor:
        """Until m (1 - s/t) reaches one, which it does where t is (1 - eps) m / T; two fewer, for rounding."""
        if self.schedule == "even":
            return torch.zeros_like(canvas.step)
        span = canvas.budget.double() / max(1 - self.eps, 1e-9)
        return (span - canvas.masked.sum(dim=-1)).floor().long() - 2 - canvas.step

    def pick(self, canvas: Canvas, score: Tensor) -> Selection:
        """The n_t masked positions with the largest `score` [B, L], ties to the left."""
        even = self.schedule == "even"
        quota = even_quota(canvas.masked, canvas.steps_left) if even else linear_quota(canvas, self.eps)
        return pick_quota(canvas, score, quota)
