from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unmask.exact.enumerate import set_log_probs
from unmask.reveals import REVEALS, Bernoulli, Certain, RevealLaw, ScoreRatio, kl

from .checks import values_and_masks

PAIRS: dict[str, tuple[Callable[[Tensor, Tensor], RevealLaw], Callable[[Tensor, Tensor], RevealLaw]]] = {
    "score_ratio||bernoulli": (ScoreRatio, Bernoulli),
    "score_ratio||may_be_empty": (ScoreRatio, lambda v, m: Bernoulli(v, m, non_empty=False)),
    "bernoulli||bernoulli": (Bernoulli, Bernoulli),
    "bernoulli||may_be_empty": (Bernoulli, lambda v, m: Bernoulli(v, m, non_empty=False)),
    "may_be_empty||may_be_empty": (
        lambda v, m: Bernoulli(v, m, non_empty=False),
        lambda v, m: Bernoulli(v, m, non_empty=False),
    ),
    "reveal_times||may_be_empty": (REVEALS["reveal_times"], lambda v, m: Bernoulli(v, m, non_empty=False)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_closed_form_kl_matches_enumeration(pair: str) -> None:
    values, masked = values_and_masks(0)
    q = PAIRS[pair][0](values, masked)
    p = PAIRS[pair][1](values_and_masks(1)[0].flip(0), masked)
    log_q, log_p = set_log_probs(q, 4), set_log_probs(p, 4)
    possible = log_q > -torch.inf
    terms = torch.where(possible, log_q.exp() * (log_q - torch.where(possible, log_p, 0.0)), 0.0)
    expected = torch.where(masked.any(-1), terms.sum(-1), 0.0)
    assert torch.allclose(kl(q, p), expected, atol=1e-10)
    assert (kl(q, p) > -1e-12).all()


def test_kl_of_a_law_with_itself_is_zero() -> None:
    values, masked = values_and_masks()
    law = Bernoulli(values, masked)
    assert torch.equal(kl(law, law), torch.zeros(len(values), dtype=torch.float64))


def test_gradients_of_kl_are_finite_on_finished_rows_and_at_ties() -> None:
    values, masked = values_and_masks(0)
    logits = values_and_masks(1)[0].requires_grad_()
    values.requires_grad_()
    kl(ScoreRatio(values, masked), Bernoulli(logits, masked)).sum().backward()
    assert values.grad is not None
    assert logits.grad is not None
    assert values.grad.isfinite().all()
    assert logits.grad.isfinite().all()


def test_pairs_without_a_finite_closed_form_are_refused_by_name() -> None:
    ones = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"Certain \|\| Bernoulli.*Known: ScoreRatio \|\| Bernoulli"):
        kl(Certain(ones, ones), Bernoulli(torch.zeros(1, 2), ones))
    with pytest.raises(ValueError, match="infinite"):
        kl(Bernoulli(torch.zeros(1, 2), ones, non_empty=False), Bernoulli(torch.zeros(1, 2), ones))
