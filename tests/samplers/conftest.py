"""Rows whose probabilities are given as numbers, for cases worked by hand."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.denoisers.base import Denoised
from unmask.samplers import Decoded, Unmasker, decode_canvas


@dataclass(frozen=True)
class Fixed:
    """A denoiser that gives every position the same distribution whatever is written: `probabilities` [L, V].

    The canvas has `rows` equal rows with everything masked but `visible`.
    """

    probabilities: Tensor
    rows: int = 1
    visible: tuple[int, ...] = ()

    def __call__(self, canvas: Canvas) -> Denoised:
        position = canvas.masked.nonzero()[:, 1]
        return Denoised.from_logits(canvas, self.probabilities.log()[position])

    def reread(self, canvas: Canvas, again: Tensor) -> Denoised:
        return self(canvas.remask(again))

    def canvas(self, budget: int) -> Canvas:
        masked = torch.ones(self.rows, len(self.probabilities), dtype=torch.bool)
        masked[:, list(self.visible)] = False
        return Canvas.make(torch.zeros_like(masked, dtype=torch.long), masked, budget)

    def first_choice(self, unmasker: Unmasker, budget: int, seed: int = 0) -> Tensor:
        """bool [rows, L]: what is selected at the first step."""
        canvas = self.canvas(budget)
        state = unmasker.init(canvas)
        return unmasker.select(canvas, self(canvas), None, state, Draws(seed).at(canvas))[0].positions

    def picks(self, unmasker: Unmasker, budget: int) -> list[int]:
        """The positions selected at the first step in the first row."""
        return self.first_choice(unmasker, budget)[0].nonzero().flatten().tolist()

    def decode(self, unmasker: Unmasker, budget: int, **options: object) -> Decoded:
        return decode_canvas(self, self.canvas(budget), unmasker, **options)

    def revealed_at(self, unmasker: Unmasker, budget: int) -> list[int]:
        """The step each position of the first row was revealed at."""
        return self.decode(unmasker, budget).revealed_at[0].tolist()


@pytest.fixture
def fixed():
    """`fixed([[.6, .4], [.9, .1]])`: a `Fixed` denoiser, one list of token probabilities per position."""

    def make(probabilities: list[list[float]], rows: int = 1, visible: tuple[int, ...] = ()) -> Fixed:
        return Fixed(torch.tensor(probabilities, dtype=torch.float64), rows, visible)

    return make


@pytest.fixture
def confident(fixed):
    """`confident([.6, .9])`: two tokens, the probability of token 0 per position."""

    def make(top: list[float], rows: int = 1, visible: tuple[int, ...] = ()) -> Fixed:
        return fixed([[p, 1 - p] for p in top], rows, visible)

    return make
