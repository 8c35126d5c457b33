"""From the left, and what is sure although it is not common."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws, positions_from_first_valid
from unmask.core.errors import UserError
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State
from unmask.samplers.frequencies import read_log_frequencies
from unmask.samplers.options import choice, file, number
from unmask.samplers.schedule import FixedQuota


@dataclass(frozen=True)
class PC(FixedQuota):
    """Reveal the n_t positions with the largest exp(-decay * i) * min(-c_i log f(token_i), clip).

    i is the position, token_i the most probable token there, c_i its probability, and f how common that token is
    (PC-Sampler, Huang et al. 2025, arXiv 2508.13021): what is sure only because its token is everywhere, like
    punctuation or the end of the text, waits. n_t is what is masked split evenly over the steps left.

    frequencies: a file `{"counts": [...]}` with how often each token of the vocabulary occurs in some corpus, smoothed
        by adding one to each (`samplers/frequencies.py`). Without it every token is taken to be equally common,
        f = 1/V: then only position and confidence count, and this is not the published sampler.

    Where i starts does not matter, since a shift scales all scores alike; they are compared on the log scale, where
    long responses do not underflow. Does not look at drawn tokens.
    """

    decay: float = number(0.25, 0)
    clip: float = number(10.0, 0)
    frequencies: str = file("a file of token counts; every token equally common without it")

    schedule: str = choice("even", ("even", "linear"))
    eps: float = number(0.001, 0, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frequencies:
            read_log_frequencies(self.frequencies)  # so that a bad file is refused before anything is decoded

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Score: -decay * i + log min(-c log f, clip)."""
        rarity = -self._log_frequency(denoised)  # [M]
        calibrated = (denoised.top2[:, 0].double() * rarity).clamp(max=self.clip)
        place = positions_from_first_valid(canvas.valid).double()
        return self.pick(canvas, denoised.to_rows(calibrated.log(), NEG_INF) - self.decay * place), state

    def _log_frequency(self, denoised: Denoised) -> Tensor:
        """float64 [M]: log f of the most probable tokens."""
        tokens = denoised.top2_tokens[:, 0]
        if not self.frequencies:
            return torch.full(tokens.shape, -math.log(denoised.vocabulary), dtype=torch.float64, device=tokens.device)
        known = read_log_frequencies(self.frequencies)
        if len(known) != denoised.vocabulary:
            raise UserError(
                f"{self.frequencies} counts {len(known)} tokens but the denoiser's vocabulary has "
                f"{denoised.vocabulary}; count with its own tokenizer"
            )
        return known.to(tokens.device)[tokens]
