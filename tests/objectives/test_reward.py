import pytest
import torch
from torch import Tensor

from unmask.objectives.reward import reward_surrogate

from ..exact.problems import Problem
from .checks import all_paths, assert_same_gradients, gradients


def test_gradient_is_that_of_the_expected_reward() -> None:
    problem = Problem.random(0)
    _, log_policy = all_paths(problem)  # [B, 13]
    reward = torch.arange(13.0, dtype=torch.float64).sin().expand(2, -1)
    exact = (log_policy.exp() * reward).sum()
    pairs = torch.cartesian_prod(torch.arange(13), torch.arange(13))
    weight = log_policy[:, pairs].sum(-1).exp().detach()  # [B, N]
    given = reward_surrogate(reward[:, pairs].flatten(0, 1), log_policy[:, pairs].flatten(0, 1))
    estimated = (weight * given.view_as(weight)).sum()
    assert torch.allclose(estimated, exact)
    assert_same_gradients(gradients(problem, estimated), gradients(problem, exact))


def advantage(reward: Tensor, normalise: bool) -> Tensor:
    log_policy = torch.zeros_like(reward, requires_grad=True)
    reward_surrogate(reward, log_policy, normalise).sum().backward()
    assert log_policy.grad is not None
    return log_policy.grad * reward.shape[-1]


def test_normalised_advantages_do_not_depend_on_the_scale_of_the_reward() -> None:
    reward = torch.tensor([[1.0, 0.0, 0.0, 1.0], [3.0, 2.0, 5.0, 1.0]])
    assert torch.allclose(advantage(reward, True), advantage(10 * reward + 3, True), atol=1e-5)
    assert not torch.allclose(advantage(reward, False), advantage(10 * reward, False))


def test_equal_rewards_teach_nothing() -> None:
    reward = torch.full((2, 4), 0.3)
    for normalise in (False, True):
        assert torch.allclose(advantage(reward, normalise), torch.zeros(2, 4), atol=1e-7)


def test_by_hand() -> None:
    assert advantage(torch.tensor([[1.0, 0.0, 0.0]]), False).tolist()[0] == pytest.approx([1, -0.5, -0.5])
