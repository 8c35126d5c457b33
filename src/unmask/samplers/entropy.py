"""The smallest entropy first."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State
from unmask.samplers.options import choice, number, temperature
from unmask.samplers.schedule import FixedQuota


@dataclass(frozen=True)
class Entropy(FixedQuota):
    """Reveal the n_t positions with the smallest entropy H.

    n_t is what is masked split evenly over the steps left. With schedule=linear this is "entropy" of Dream (arXiv
    2508.15487), whose own schedule that is (see `FixedQuota`). With alg_temp > 0 they are drawn without replacement
    from softmax(-H / alg_temp), by adding Gumbel noise to -H / alg_temp and taking the n_t largest (Gumbel top-k, Kool
    et al. 2019, arXiv 1903.06059). Does not look at drawn tokens.
    """

    alg_temp: float = temperature(0.0)
    schedule: str = choice("even", ("even", "linear"))
    eps: float = number(0.001, 0, 1)
    reads_entropy: ClassVar[bool] = True

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Score: -H, or -H / alg_temp + Gumbel."""
        score = denoised.to_rows(-denoised.entropy.double(), NEG_INF)  # [B, L]
        if self.alg_temp > 0:
            score = score / self.alg_temp - (-draws.uniform("reveal").log()).log()
        return self.pick(canvas, score), state
