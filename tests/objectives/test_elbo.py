import torch

from unmask.objectives.elbo import StepTerm, step_term
from unmask.reveals import Bernoulli, ScoreRatio

from .checks import check_step_term


def test_step_term_matches_the_sum_over_all_sets() -> None:
    check_step_term(step_term)


def test_step_term_is_equation_5_as_written() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, logits, noise = torch.randn(3, 6, 5, generator=generator, dtype=torch.float64)
    log_prob, masked = -noise.abs(), torch.rand(6, 5, generator=generator) < 0.8
    masked[:, 0] = True
    q, p = ScoreRatio(scores, masked, 0.5), Bernoulli(logits, masked)
    chance, coin = q.probabilities(), logits.sigmoid()
    kl = torch.xlogy(chance, chance / coin) + torch.xlogy(1 - chance, (1 - chance) / (1 - coin))
    nothing = torch.where(masked, 1 - coin, 1.0).prod(-1)
    expected = torch.where(masked, chance * log_prob - kl, 0.0).sum(-1) - (1 - nothing).log()
    never = torch.zeros(6, dtype=torch.bool)
    assert torch.allclose(step_term(q, p, log_prob, masked, never).value(), expected)


def test_beta_weighs_the_divergence_only() -> None:
    term = StepTerm(torch.tensor([-3.0]), torch.tensor([2.0]))
    assert term.value().tolist() == [-5.0]
    assert term.value(0.25).tolist() == [-3.5]


def test_finished_rows_and_last_steps_keep_gradients_finite() -> None:
    scores = torch.zeros(3, 4, requires_grad=True)
    logits = torch.zeros(3, 4, requires_grad=True)
    masked = torch.tensor([[False] * 4, [True] * 4, [True, False, False, False]])
    log_prob = torch.full((3, 4), -torch.inf).masked_fill(masked, -1.0)
    q, p = ScoreRatio(scores, masked), Bernoulli(logits, masked)
    term = step_term(q, p, log_prob, masked, torch.tensor([False, True, False]))
    assert term.tokens.tolist() == [0.0, -4.0, -1.0]
    assert term.kl[:2].tolist() == [0.0, 0.0]
    term.value().sum().backward()
    for gradient in (scores.grad, logits.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert (gradient[:2] == 0).all()
