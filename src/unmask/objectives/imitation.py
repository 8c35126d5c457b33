"""A policy held to the order that knows the answer: reveal what is right already, and nothing else.

With the text in hand the best posterior of a step is no law but a set, that of all positions whose most probable token
is the text's; q puts all its weight there. Its divergence from the policy's coins is the policy's loss (equation 6d).
"""

from dataclasses import replace

from torch import Tensor

from unmask.reveals.bernoulli import Bernoulli


def imitation_loss(law: Bernoulli, right: Tensor) -> Tensor:
    """[B], in nats: minus the log-probability that the coins show `right` (bool [B, L]) at the masked positions.

    The coins as they fall, without the condition that one comes up: where nothing is right yet that is what they are
    to say, and the decode rule, not the law, then picks the best. For a policy that may be anything the minimiser is
    the chance, given what it sees, that a position is right: levels of a threshold are probabilities of being right.
    0 on finished rows.
    """
    return -replace(law, non_empty=False).log_prob(right & law.masked)
