"""Train the policy for a reward of each path: a right answer, a saved step, anything without a gradient."""

from torch import Tensor

from unmask.objectives.rloo import leave_one_out_mean, score_term

# A deviation of rewards below this is none: all samples of the row did equally well, which teaches nothing.
SMALLEST_DEVIATION = 1e-6


def reward_surrogate(reward: Tensor, log_policy: Tensor, normalise: bool = False) -> Tensor:
    """[B]: the mean reward, with the gradient of its expectation in psi; maximise its mean.

    grad = mean_k (R_k - mean of the other K-1 rewards) * grad log_policy_k

    With `normalise`, the advantage is divided by the standard deviation of the row's K rewards (GRPO, Shao et
    al. 2024): rows of little contrast count as much as others. That is no longer the gradient of the
    expected reward.

    reward: [B, K], no gradient needed. log_policy: [B, K], of paths drawn from the policy itself. K >= 2.
    """
    reward = reward.detach()
    advantage = reward - leave_one_out_mean(reward)
    if normalise:
        deviation = reward.std(-1, keepdim=True)
        advantage = advantage / deviation.clamp(min=SMALLEST_DEVIATION)
    return (reward + score_term(advantage, log_policy)).mean(-1)
