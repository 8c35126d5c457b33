"""The most probable token first: LLaDA's "low confidence" remasking, from the side of what is revealed."""

from dataclasses import dataclass

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Stateless
from unmask.samplers.pick import pick_quota


@dataclass(frozen=True)
class TopProb(Stateless):
    """Reveal the n_t positions whose most probable token is the most probable.

    n_t is what is masked split evenly over the steps left, the remainder first (LLaDA "low_confidence", Nie
    et al. 2025, arXiv 2502.09992; their blocks of 32 are `top-prob:block=32` here). The confidence is always
    the argmax's: ranking by the drawn token's probability, as the original does at temperature > 0, would
    change the law of what is written. Does not look at drawn tokens.
    """

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Score: the largest token probability."""
        return pick_quota(canvas, denoised.to_rows(denoised.top2[:, 0], NEG_INF)), state
