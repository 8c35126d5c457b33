"""KL divergence between two reveal laws: a table of the pairs that have a closed form."""

from collections.abc import Callable

from torch import Tensor

from unmask.reveals.base import RevealLaw
from unmask.reveals.bernoulli import Bernoulli
from unmask.reveals.coins import kl_coins
from unmask.reveals.reveal_times import RevealTimes
from unmask.reveals.score_ratio import ScoreRatio


def _score_ratio_to_bernoulli(q: ScoreRatio, p: Bernoulli) -> Tensor:
    # sum_i KL(Bern(q_i) || Bern(p_i)) + log(1 - prod_i(1 - p_i)), the divergence inside equation 5
    return kl_coins(q.coins, p.coins)


def _bernoulli_to_bernoulli(q: Bernoulli, p: Bernoulli) -> Tensor:
    if q.may_be_empty and not p.may_be_empty:
        raise ValueError("KL is infinite: q may reveal nothing and p may not. Give both the same non_empty")
    return kl_coins(q.coins, p.coins)


def _reveal_times_to_bernoulli(q: RevealTimes, p: Bernoulli) -> Tensor:
    if not p.may_be_empty:
        raise ValueError("KL is infinite: q may reveal nothing and p may not. Give p non_empty=False")
    return kl_coins(q.coins, p.coins)


# (type of q, type of p) -> KL(q || p). With a ScoreRatio on the right it is infinite where the best differs.
KL: dict[tuple[type, type], Callable[..., Tensor]] = {
    (ScoreRatio, Bernoulli): _score_ratio_to_bernoulli,
    (Bernoulli, Bernoulli): _bernoulli_to_bernoulli,
    (RevealTimes, Bernoulli): _reveal_times_to_bernoulli,
}


def kl(q: RevealLaw, p: RevealLaw) -> Tensor:
    """[B]: KL(q || p) in nats given the masked set, which both must share; 0 on finished rows."""
    pair = (type(q), type(p))
    if pair not in KL:
        known = ", ".join(f"{first.__name__} || {second.__name__}" for first, second in KL)
        raise ValueError(f"no closed form for KL({pair[0].__name__} || {pair[1].__name__}). Known: {known}")
    return KL[pair](q, p)
