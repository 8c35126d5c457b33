"""The law by which a sampler picks positions, where it has one: what exact sums need instead of draws."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws, StepDraws
from unmask.core.errors import UserError
from unmask.core.numerics import even_quota
from unmask.denoisers.base import Denoised
from unmask.reveals.base import RevealLaw
from unmask.reveals.bernoulli import Bernoulli
from unmask.reveals.certain import Certain
from unmask.reveals.fixed_size import FixedSize
from unmask.samplers.base import AnyUnmasker, Editor
from unmask.samplers.iid import IID
from unmask.samplers.learned import Learned, ruled
from unmask.samplers.uniform import Random


class _NoDraws(StepDraws):
    """Draws that may not be made: a sampler that asks for one has no law we know."""

    def __init__(self, sampler: str, canvas: Canvas) -> None:
        super().__init__(Draws(0), canvas)
        object.__setattr__(self, "sampler", sampler)

    def _refuse(self) -> Tensor:
        raise UserError(
            f"{self.sampler} draws at random and its law is not known in closed form, so its NLL cannot be summed; "  # type: ignore[attr-defined]
            f"drawn ones that can: {', '.join(kind.__name__ for kind in DRAWN)}"
        )

    def uniform(self, purpose: str) -> Tensor:
        return self._refuse()

    def row_uniform(self, purpose: str) -> Tensor:
        return self._refuse()


def _iid(unmasker: IID, canvas: Canvas, denoised: Denoised) -> RevealLaw:
    chance = 1.0 / canvas.steps_left.clamp(min=2).double()  # at the last step all is revealed anyway
    return Bernoulli(torch.logit(chance)[:, None].expand(canvas.masked.shape), canvas.masked, non_empty=False)


def _random(unmasker: Random, canvas: Canvas, denoised: Denoised) -> RevealLaw:
    return FixedSize(canvas.masked, even_quota(canvas.masked, canvas.steps_left))


def _learned(unmasker: Learned, canvas: Canvas, denoised: Denoised) -> RevealLaw | None:
    if unmasker.rule.kind != "sample":
        return None
    return ruled(unmasker.policy(canvas, denoised), unmasker.rule)


# Samplers that draw, with their law; None where these options draw nothing.
DRAWN: dict[type, Callable[..., RevealLaw | None]] = {IID: _iid, Random: _random, Learned: _learned}


def reveal_law(unmasker: AnyUnmasker, canvas: Canvas, denoised: Denoised, state: Any) -> tuple[RevealLaw, Any]:
    """The law of the next step, and the sampler's state after it.

    Raises UserError for a sampler that re-masks or looks at drawn tokens, or that draws by a law not in `DRAWN`
    (wrappers around one that draws included).
    """
    name = type(unmasker).__name__
    if isinstance(unmasker, Editor):
        raise UserError(
            f"{name} re-masks what it wrote, so it can come by the same text in many ways and has no NLL that "
            "is summed here; name a sampler that only reveals"
        )
    if unmasker.reads_tokens:
        raise UserError(f"{name} looks at drawn tokens, so it does not write by the denoiser's law and has no NLL")
    drawn = DRAWN.get(type(unmasker))
    law = drawn(unmasker, canvas, denoised) if drawn is not None else None
    if law is not None:
        return law, state
    chosen, state = unmasker.select(canvas, denoised, None, state, _NoDraws(name, canvas))
    return Certain(chosen.positions, canvas.masked), state
