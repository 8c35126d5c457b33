import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.core.numerics import even_quota, log1mexp, rank_within_row, top_within_row

NAN, INF = math.nan, math.inf


@settings(deadline=None, max_examples=50)
@given(st.floats(-700, -1e-12))
def test_log1mexp_is_accurate_at_both_ends(value: float) -> None:
    exact = math.log(-math.expm1(value)) if value > -1 else math.log1p(-math.exp(value))
    assert float(log1mexp(torch.tensor(value, dtype=torch.float64))) == pytest.approx(exact, rel=1e-12)


def test_log1mexp_has_finite_gradients() -> None:
    value = torch.tensor([-1e-6, -0.5, -0.7, -80.0, -1e4], dtype=torch.float64, requires_grad=True)
    log1mexp(value).sum().backward()
    assert value.grad is not None
    assert value.grad.isfinite().all()


def test_ranks_put_ties_leftmost_first_nan_last_and_ineligible_behind() -> None:
    score = torch.tensor([[1.0, 3.0, NAN, 3.0, -INF, 9.0]])
    eligible = torch.tensor([[True, True, True, True, True, False]])
    assert rank_within_row(score, eligible).tolist() == [[2, 0, 3, 1, 4, 5]]


def test_a_rank_is_a_permutation_and_does_not_depend_on_the_other_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    score = torch.randint(4, (16, 9), generator=generator).float()
    eligible = torch.rand(16, 9, generator=generator) < 0.7
    rank = rank_within_row(score, eligible)
    assert torch.equal(rank.sort(-1).values, torch.arange(9).expand(16, 9))
    for row in range(16):
        assert torch.equal(rank_within_row(score[row : row + 1], eligible[row : row + 1])[0], rank[row])


def test_top_within_row_takes_the_largest_eligible() -> None:
    score = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    eligible = torch.tensor([[True, True, False], [False, False, False]])
    top = top_within_row(score, eligible, torch.tensor([1, 2]))
    assert top.tolist() == [[False, True, False], [False, False, False]]


@pytest.mark.parametrize(("positions", "steps"), [(10, 4), (3, 5), (7, 7), (1, 1), (128, 5)])
def test_even_quota_spends_all_positions_evenly_the_remainder_first(positions: int, steps: int) -> None:
    masked = torch.ones(1, positions, dtype=torch.bool)
    quotas = []
    for left in range(steps, 0, -1):
        quota = int(even_quota(masked, torch.tensor([left])))
        quotas.append(quota)
        masked[0, masked[0].nonzero().squeeze(-1)[:quota]] = False
    assert sum(quotas) == positions
    assert quotas == sorted(quotas, reverse=True)
    assert max(quotas) - min(quotas) <= 1


def test_the_quota_of_any_budget_is_at_least_one_while_something_is_masked() -> None:
    """The largest budget a canvas holds, too."""
    masked = torch.ones(3, 5, dtype=torch.bool)
    assert even_quota(masked, torch.tensor([2**63 - 1, 5, 2])).tolist() == [1, 1, 3]
