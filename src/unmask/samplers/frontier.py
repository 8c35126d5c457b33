"""What is nearly certain wherever it stands, and the next position in the order of reading."""

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
class Frontier(Stateless):
    """Reveal the leftmost masked position, and every one whose most probable token has at least probability `level`.

    Left-to-right decoding that also writes ahead where it is sure (**ours**, between Fast-dLLM's threshold, Wu et
    al. 2025, arXiv 2505.22618, and one position per step from the left). Where several ways of going on are equally
    probable, a threshold reveals the best guess of the whole response; this one decides what comes first and lets
    the rest follow, so that which way it takes can be foreseen. It has no schedule: what is left at the last step is
    revealed then, all at once (`pace=true` spreads it). Does not look at drawn tokens.
    """

    level: float = number(0.98, 0, 1)

    def __post_init__(self) -> None:
        check_options(self)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """All with p1 >= level, the leftmost counting as certain."""
        confidence = denoised.to_rows(denoised.top2[:, 0], NEG_INF)  # [B, L]
        score = confidence.masked_fill(canvas.masked.cumsum(-1) == 1, 1.0)  # what is written is not read
        return Selection(pick_from_level(canvas, score, self.level), score), state
