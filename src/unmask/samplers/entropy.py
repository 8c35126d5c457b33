"""The smallest entropy first."""

from dataclasses import dataclass

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Stateless
from unmask.samplers.options import check_options, temperature
from unmask.samplers.pick import pick_quota


@dataclass(frozen=True)
class Entropy(Stateless):
    """Reveal the n_t positions with the smallest entropy H.

    n_t is what is masked split evenly over the steps left (Dream "entropy", arXiv 2508.15487). With
    alg_temp > 0 they are drawn without replacement from softmax(-H / alg_temp), by adding Gumbel noise to
    -H / alg_temp and taking the n_t largest (Gumbel top-k, Kool et al. 2019, arXiv 1903.06059). Does not look
    at drawn tokens.
    """

    alg_temp: float = temperature(0.0)

    def __post_init__(self) -> None:
        check_options(self)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Score: -H, or -H / alg_temp + Gumbel."""
        score = denoised.to_rows(-denoised.entropy.double(), NEG_INF)  # [B, L]
        if self.alg_temp > 0:
            score = score / self.alg_temp - (-draws.uniform("reveal").log()).log()
        return pick_quota(canvas, score), state
