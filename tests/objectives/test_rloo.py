import pytest
import torch

from unmask.objectives.rloo import leave_one_out_mean, rloo_surrogate, score_term, stratified_steps

from ..exact.problems import Problem
from .checks import check_path_surrogate


def test_leave_one_out_mean_by_hand() -> None:
    assert leave_one_out_mean(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[4.0, 3.5, 1.5]]


def test_two_samples_by_hand() -> None:
    value = torch.tensor([[3.0, 1.0]], requires_grad=True)
    log_prob = torch.tensor([[-0.5, -2.0]], requires_grad=True)
    surrogate = rloo_surrogate(value, log_prob)
    assert surrogate.tolist() == [2.0]
    surrogate.sum().backward()
    assert value.grad is not None
    assert log_prob.grad is not None
    assert value.grad.tolist() == [[0.5, 0.5]]
    assert log_prob.grad.tolist() == [[1.0, -1.0]]  # (3 - 1) / 2 and (1 - 3) / 2


def test_a_score_term_is_worth_nothing_itself() -> None:
    assert score_term(torch.tensor([7.0]), torch.tensor([-3.0])).tolist() == [0.0]


@pytest.mark.parametrize("samples", [2, 3])
def test_one_sample_objective_has_the_gradient_of_the_expected_log_likelihood(samples: int) -> None:
    check_path_surrogate(rloo_surrogate, lambda value: value.mean(-1), Problem.random(0), samples)


@pytest.mark.parametrize(("budget", "draws"), [(1, 1), (3, 1), (4, 2), (5, 3), (6, 6), (3, 7)])
def test_each_stratified_step_alone_is_uniform(budget: int, draws: int) -> None:
    cells = budget * draws  # the steps are constant on so many equal parts of (0, 1)
    uniform = (torch.arange(cells).double() + 0.5) / cells
    steps = stratified_steps(torch.full((cells,), budget), draws, uniform)
    assert steps.shape == (cells, draws)
    for draw in range(draws):
        assert torch.bincount(steps[:, draw], minlength=budget + 1).tolist() == [0] + [draws] * budget


def test_as_many_steps_as_the_budget_are_all_steps_once() -> None:
    steps = stratified_steps(torch.tensor([5, 5]), 5, torch.tensor([0.03, 0.99], dtype=torch.float64))
    assert steps.sort(-1).values.tolist() == [[1, 2, 3, 4, 5]] * 2


def test_steps_stay_within_the_budget_at_the_ends_of_the_unit_interval() -> None:
    uniform = torch.tensor([2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
    for budget in (1, 3, 7, 1000):
        steps = stratified_steps(torch.tensor([budget, budget]), 3, uniform)
        assert ((steps >= 1) & (steps <= budget)).all()


def test_a_single_sample_has_no_others() -> None:
    with pytest.raises(ValueError, match="at least 2 samples per row, not 1"):
        rloo_surrogate(torch.zeros(2, 1), torch.zeros(2, 1))
