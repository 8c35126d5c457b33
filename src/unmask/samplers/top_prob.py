"""The most probable token first: LLaDA's "low confidence" remasking, from the side of what is revealed."""

from dataclasses import dataclass

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State
from unmask.samplers.options import choice, number
from unmask.samplers.schedule import FixedQuota


@dataclass(frozen=True)
class TopProb(FixedQuota):
    """Reveal the n_t positions whose most probable token is the most probable.

    n_t is what is masked split evenly over the steps left, the remainder first (LLaDA "low_confidence", Nie
    et al. 2025, arXiv 2502.09992; their blocks of 32 are `top-prob:block=32` here). With schedule=linear this is
    "maskgit_plus" of Dream (see `FixedQuota`). SMDM's loop pools the counts of its batch and lets its rows compete;
    here every row has its own, which is that loop with one row. Ties go to the left, where published code takes any.
    The confidence is always the argmax's, in float32: ranking by the drawn token's probability, as the original does
    at temperature > 0, would change the law of what is written. Does not look at drawn tokens.
    """

    schedule: str = choice("even", ("even", "linear"))
    eps: float = number(0.001, 0, 1)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Score: the largest token probability."""
        return self.pick(canvas, denoised.to_rows(denoised.top2[:, 0], NEG_INF)), state
