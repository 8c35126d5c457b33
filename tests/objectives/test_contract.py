"""One contract over every objective of a policy's own paths."""

import pytest
import torch
from torch import Tensor

from unmask.objectives import OBJECTIVES

every_objective = pytest.mark.parametrize("name", OBJECTIVES)


def score_gradient(name: str, value: Tensor) -> Tensor:
    log_policy = torch.linspace(-3, -1, value.numel(), dtype=torch.float64).view_as(value).requires_grad_()
    OBJECTIVES[name](value, log_policy).sum().backward()
    assert log_policy.grad is not None
    return log_policy.grad


def example() -> Tensor:
    return -5 * torch.rand(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every_objective
def test_gives_one_number_per_row_that_does_not_depend_on_the_paths_probability(name: str) -> None:
    value = example()
    surrogate = OBJECTIVES[name](value, torch.zeros_like(value))
    assert surrogate.shape == (4,)
    assert torch.equal(surrogate, OBJECTIVES[name](value, torch.full_like(value, -9.0)))
    assert (surrogate >= value.amin(-1)).all()
    assert (surrogate <= value.amax(-1)).all()


@every_objective
def test_adding_a_constant_to_all_paths_of_a_row_teaches_the_policy_nothing_new(name: str) -> None:
    value = example()
    shift = torch.tensor([[3.0], [-2.0], [0.0], [40.0]], dtype=torch.float64)
    assert torch.allclose(score_gradient(name, value), score_gradient(name, value + shift))


@every_objective
def test_samples_may_come_in_any_order(name: str) -> None:
    value, shuffle = example(), torch.tensor([2, 0, 1])
    assert torch.allclose(score_gradient(name, value)[:, shuffle], score_gradient(name, value[:, shuffle]))


@every_objective
def test_rows_do_not_meet(name: str) -> None:
    value = example()
    assert torch.allclose(score_gradient(name, value)[1:2], score_gradient(name, value[1:2]))


@every_objective
def test_the_better_path_gains_more(name: str) -> None:
    value = example()
    gain = score_gradient(name, value)
    assert torch.equal(gain.argsort(-1), value.argsort(-1))


@every_objective
def test_a_single_sample_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at least 2 samples per row, not 1"):
        OBJECTIVES[name](torch.zeros(3, 1), torch.zeros(3, 1))
