"""Layer 1: distributions over the set of positions to reveal in one step."""

from collections.abc import Callable

import torch
from torch import Tensor

from unmask.reveals.base import OrderPolicy, OrderPosterior, RevealLaw
from unmask.reveals.bernoulli import Bernoulli
from unmask.reveals.categorical import Categorical, list_sets
from unmask.reveals.certain import Certain
from unmask.reveals.fixed_size import FixedSize
from unmask.reveals.kl import KL, kl
from unmask.reveals.mixture import BernoulliMixture
from unmask.reveals.plackett_luce import PlackettLuce
from unmask.reveals.reveal_times import RevealTimes
from unmask.reveals.score_ratio import ScoreLaw, ScoreRatio, at_temperature


def along(values: Tensor) -> Tensor:
    """[L]: 1, 1/2, 1/3, ...: numbers for sizes that do not depend on padding."""
    return 1 / torch.arange(1, values.shape[-1] + 1, dtype=values.dtype, device=values.device)


# name -> a law from one number per position [B, L] and the masked positions [B, L]; contract tests walk it.
REVEALS: dict[str, Callable[[Tensor, Tensor], RevealLaw]] = {
    "bernoulli": Bernoulli,
    "bernoulli_may_be_empty": lambda values, masked: Bernoulli(values, masked, non_empty=False),
    "score_ratio": lambda values, masked: ScoreRatio(values, masked, tau=0.7),
    "certain": lambda values, masked: Certain(values > 0, masked),
    "reveal_times": lambda values, masked: RevealTimes(
        torch.stack([values, -values, 0 * values], dim=-1), masked.sum(-1) % 3, masked
    ),
    "plackett_luce": lambda values, masked: PlackettLuce(
        values, (values * masked).sum(-1, keepdim=True) * along(values), masked
    ),
    "fixed_size": lambda values, masked: FixedSize(masked, 1 + ((values * masked).sum(-1) > 0).long()),
    "mixture": lambda values, masked: BernoulliMixture(
        (values * masked).sum(-1, keepdim=True) * values.new_tensor([1.0, -0.5]),
        torch.stack([values, 0.5 - values], dim=1),
        masked,
    ),
    "categorical": lambda values, masked: Categorical(values @ list_sets(values.shape[-1]).to(values).T, masked),
}

__all__ = [
    "KL",
    "REVEALS",
    "Bernoulli",
    "BernoulliMixture",
    "Categorical",
    "Certain",
    "FixedSize",
    "OrderPolicy",
    "OrderPosterior",
    "PlackettLuce",
    "RevealLaw",
    "RevealTimes",
    "ScoreLaw",
    "ScoreRatio",
    "at_temperature",
    "kl",
]
