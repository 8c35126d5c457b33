"""Families of policies and posteriors with numbers of their own for every context, or for every text."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unmask.core.canvas import Canvas
from unmask.denoisers.base import Denoised
from unmask.denoisers.table import context_index
from unmask.reveals import (
    Bernoulli,
    BernoulliMixture,
    Categorical,
    PlackettLuce,
    RevealLaw,
    RevealTimes,
    at_temperature,
)
from unmask.reveals.score_ratio import ScoreLaw


class PolicyFamily(NamedTuple):
    """width: how many numbers a context has, from (length, components). law: from them, [B, width], and the log-odds
    of revealing a position at an even pace, [B, 1].

    may_be_empty: a step may reveal nothing. closed: its divergence from a posterior has a closed form. tilts: its law
    has `tilt` (equation 6c). scales: its law has `scale`.
    """

    width: Callable[[int, int], int]
    law: Callable[[Tensor, Tensor, Tensor, int], RevealLaw]
    may_be_empty: bool = False
    closed: bool = False
    tilts: bool = False
    scales: bool = False


def _mixture(numbers: Tensor, pace: Tensor, masked: Tensor, components: int) -> BernoulliMixture:
    coins = numbers[:, components:].view(len(numbers), components, -1) + pace[..., None]
    return BernoulliMixture(numbers[:, :components], coins, masked)


FAMILIES: dict[str, PolicyFamily] = {
    "bernoulli": PolicyFamily(
        lambda length, components: length,
        lambda numbers, pace, masked, components: Bernoulli(numbers + pace, masked),
        closed=True, tilts=True, scales=True,
    ),
    "bernoulli-or-none": PolicyFamily(
        lambda length, components: length,
        lambda numbers, pace, masked, components: Bernoulli(numbers + pace, masked, non_empty=False),
        may_be_empty=True, closed=True, scales=True,
    ),
    "mixture": PolicyFamily(lambda length, components: components * (length + 1), _mixture, tilts=True),
    "plackett-luce": PolicyFamily(
        lambda length, components: 2 * length,
        lambda numbers, pace, masked, components: PlackettLuce(numbers[:, ::2], numbers[:, 1::2], masked),
    ),
    "categorical": PolicyFamily(
        lambda length, components: 2**length,
        lambda numbers, pace, masked, components: Categorical(numbers, masked),
        tilts=True,
    ),
}  # fmt: skip


class PosteriorFamily(NamedTuple):
    """shape: of the numbers of a text, from (length, steps). law: from a temperature. may_be_empty: as above."""

    shape: Callable[[int, int], tuple[int, ...]]
    law: Callable[[float], ScoreLaw]
    may_be_empty: bool = False


POSTERIORS: dict[str, PosteriorFamily] = {
    "score-ratio": PosteriorFamily(lambda length, steps: (length,), at_temperature),
    "reveal-times": PosteriorFamily(
        lambda length, steps: (length, steps), lambda tau: RevealTimes.at_step, may_be_empty=True
    ),
}


class TablePolicy(nn.Module):
    """A policy with numbers of its own for every context and step: what is visible is all it can know.

    numbers: [T - 1, C, *], as many as its family needs. The last step of a budget is no choice.
    """

    def __init__(
        self, length: int, vocabulary: int, steps: int, family: PolicyFamily, components: int, start: float,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        self.length, self.vocabulary, self.family, self.components = length, vocabulary, family, components
        shape = (max(steps - 1, 1), (vocabulary + 1) ** length, family.width(length, components))
        self.numbers = nn.Parameter(start * torch.randn(shape, generator=generator))

    @property
    def may_be_empty(self) -> bool:
        """Whether a step may reveal nothing."""
        return self.family.may_be_empty

    def forward(self, canvas: Canvas, denoised: Denoised) -> RevealLaw:
        step = canvas.step.clamp(max=self.numbers.shape[0] - 1)
        numbers = self.numbers[step, context_index(canvas, self.length, self.vocabulary)]
        left = canvas.steps_left.clamp(min=2).to(numbers.dtype)
        return self.family.law(numbers, -(left - 1).log()[:, None], canvas.masked, self.components)
