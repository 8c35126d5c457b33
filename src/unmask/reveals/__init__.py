"""Layer 1: distributions over the set of positions to reveal in one step."""

from collections.abc import Callable

from torch import Tensor

from unmask.reveals.base import OrderPolicy, OrderPosterior, RevealLaw
from unmask.reveals.bernoulli import Bernoulli
from unmask.reveals.certain import Certain
from unmask.reveals.kl import KL, kl
from unmask.reveals.score_ratio import ScoreLaw, ScoreRatio, at_temperature

# name -> a law from one number per position [B, L] and the masked positions [B, L]; contract tests walk it.
REVEALS: dict[str, Callable[[Tensor, Tensor], RevealLaw]] = {
    "bernoulli": Bernoulli,
    "bernoulli_may_be_empty": lambda values, masked: Bernoulli(values, masked, non_empty=False),
    "score_ratio": lambda values, masked: ScoreRatio(values, masked, tau=0.7),
    "certain": lambda values, masked: Certain(values > 0, masked),
}

__all__ = [
    "KL",
    "REVEALS",
    "Bernoulli",
    "Certain",
    "OrderPolicy",
    "OrderPosterior",
    "RevealLaw",
    "ScoreLaw",
    "ScoreRatio",
    "at_temperature",
    "kl",
]
