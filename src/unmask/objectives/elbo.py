"""One step of the bound, with the sum over what the step reveals done in closed form (equation 5)."""

from typing import NamedTuple

import torch
from torch import Tensor

from unmask.reveals.base import RevealLaw
from unmask.reveals.kl import kl


class StepTerm(NamedTuple):
    """The two parts of equation 5, each [N]: f = tokens - kl.

    tokens: sum_i q(i in S) log p_theta(x_i | .), expected log-likelihood of the tokens this step writes.
    kl:     KL(q(S) || p(S)), what the policy pays for not knowing the text.
    """

    tokens: Tensor
    kl: Tensor

    def value(self, beta: float = 1.0) -> Tensor:
        """[N]: tokens - beta * kl. Only beta = 1 is a term of the bound; less lets an order vary early on."""
        return self.tokens - beta * self.kl


def step_term(q: RevealLaw, p: RevealLaw, log_prob: Tensor, masked: Tensor, last_step: Tensor) -> StepTerm:
    """E_{S ~ q}[ sum_{i in S} log p_theta(x_i | .) + log p(S) - log q(S) ] given what is masked (equation 5).

    Not an estimate: S is summed out, so its only randomness is the path that led here. For q a `ScoreRatio`
    and p a non-empty `Bernoulli` it is, written out,

        sum_{i in M} [ q_i log p_theta(x_i | .) - KL(Bern(q_i) || Bern(p_i)) ] - log(1 - prod_M(1 - p_i)).

    At the last step both laws reveal all that is masked. Finished rows get 0.

    log_prob: [N, L], log p_theta(x_i | .) of the true tokens; ignored where not masked.
    masked: bool [N, L]. last_step: bool [N].
    """
    inclusion = torch.where(last_step[:, None], 1.0, q.inclusion())  # [N, L]
    tokens = (inclusion * torch.where(masked, log_prob, 0.0)).sum(-1)
    return StepTerm(tokens, torch.where(last_step, 0.0, kl(q, p)))
