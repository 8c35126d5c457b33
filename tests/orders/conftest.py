"""Canvases of every kind, and a denoiser whose answer does not depend on padding to the last bit."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pad

from unmask.core.canvas import Canvas
from unmask.core.draws import mix, positions_from_first_valid, to_unit
from unmask.denoisers.base import Denoised
from unmask.orders.policy import PolicyConfig, PolicyNetwork

VOCABULARY, WIDTH = 5, 6


class HashDenoiser:
    """Logits and hidden states are a hash of what is visible in the row and of the position."""

    def __init__(self, hidden: bool = True) -> None:
        self.hidden = hidden

    def __call__(self, canvas: Canvas) -> Denoised:
        place = positions_from_first_valid(canvas.valid)
        words = mix(mix(place) + canvas.tokens)
        context = torch.where(canvas.valid & ~canvas.masked, words, 0).sum(-1, keepdim=True)
        here = mix(context ^ mix(place))[canvas.masked]  # [M]
        logits = 5 * to_unit(mix(here[:, None] ^ mix(torch.arange(VOCABULARY))))
        hidden = 2 * to_unit(mix(here[:, None] ^ mix(torch.arange(50, 50 + WIDTH)))) - 1
        return Denoised.from_logits(canvas, logits, hidden if self.hidden else None)


def some_canvas() -> Canvas:
    """Rows of different lengths, budgets and steps; padding on both sides; row 3 is finished, row 4 at its end."""
    generator = torch.Generator().manual_seed(0)
    masked = torch.rand(6, 10, generator=generator) < 0.6
    valid = torch.ones_like(masked)
    for row, (left, right) in enumerate([(0, 0), (2, 0), (0, 3), (1, 0), (0, 2), (3, 1)]):
        valid[row, :left] = False
        valid[row, 10 - right :] = False
    masked[3] = False
    tokens = torch.randint(VOCABULARY, masked.shape, generator=generator)
    canvas = Canvas.make(tokens, masked, torch.tensor([4, 2, 8, 3, 3, 16]), valid)
    return replace(canvas, step=torch.tensor([0, 0, 3, 1, 2, 1]))


def widen(canvas: Canvas, left: int, right: int) -> Canvas:
    return replace(
        canvas,
        tokens=pad(canvas.tokens, (left, right), value=1),
        masked=pad(canvas.masked, (left, right), value=False),
        valid=pad(canvas.valid, (left, right), value=False),
    )


def some_policy(width: int = WIDTH, seed: int = 0, codes: int = 6) -> PolicyNetwork:
    """float64, and with a head that says something."""
    generator = torch.Generator().manual_seed(seed)
    config = PolicyConfig(width, width=8, layers=2, heads=2, hidden=12, codes=codes)
    policy = PolicyNetwork(config).initialise(generator)
    with torch.no_grad():
        policy.head.weight.normal_(0.0, 1.0, generator=generator)
    return policy.double().eval()


@pytest.fixture
def canvas():
    return some_canvas()


@pytest.fixture
def denoiser():
    return HashDenoiser()


@pytest.fixture
def policy():
    return some_policy()
