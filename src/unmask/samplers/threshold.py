"""Everything that is certain enough, at once."""

from dataclasses import dataclass

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Stateless
from unmask.samplers.options import check_options, number
from unmask.samplers.pick import pick_from_level


@dataclass(frozen=True)
class Threshold(Stateless):
    """Reveal every position whose most probable token has at least probability `level`.

    Always at least the best one (Fast-dLLM, Wu et al. 2025, arXiv 2505.22618). Fast-dLLM always writes the
    argmax; here what is written is the decode loop's choice, so use temperature 0 to have the original. It
    has no schedule: what is left at the last step is revealed then, all at once (`pace=true` spreads it).
    Does not look at drawn tokens.
    """

    level: float = number(0.9, 0, 1)

    def __post_init__(self) -> None:
        check_options(self)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """All with p1 >= level, or the one with the largest p1."""
        confidence = denoised.to_rows(denoised.top2[:, 0], NEG_INF)  # [B, L]
        return Selection(pick_from_level(canvas, confidence, self.level), confidence), state
