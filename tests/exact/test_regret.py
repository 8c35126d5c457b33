"""What a choice costs above the best one: by hand, against enumerated policies, and on chains whose order is known."""

import math

import pytest
import torch

from unmask.exact.choices import Choices
from unmask.exact.nll import sampler_policies
from unmask.exact.optimum import best_randomised
from unmask.exact.regret import completions, deterministic_regret, excess, near_best, near_deterministic, reached
from unmask.exact.suite import chains_of_hmm, instance
from unmask.reveals import Certain
from unmask.samplers import make_sampler
from unmask.samplers.learned import Learned

from .problems import random_joint


def taking(groups: list[list[int]]) -> Learned:
    """The order that reveals these positions one group after the other."""

    def policy(canvas, denoised) -> Certain:
        positions = canvas.masked & False
        positions[:, groups[int(canvas.step[0])]] = True
        return Certain(positions, canvas.masked)

    return Learned(policy)


def test_one_of_each_chain_is_near_best_and_both_of_one_chain_is_not() -> None:
    first, second = chains_of_hmm(0)
    choices = Choices.of(instance("hmm", 0))
    together = sampler_policies(choices, taking([list(pair) for pair in zip(first, second, strict=True)]), 3)
    apart = sampler_policies(choices, taking([first[:2], second[:2], [first[2], second[2]]]), 3)
    regret = deterministic_regret(choices, 3)
    assert near_best(choices, together) == pytest.approx(1.0)
    assert near_deterministic(choices, together, regret) == pytest.approx(1.0)
    assert near_best(choices, apart) < 0.6
    assert near_deterministic(choices, apart, regret) < 0.6


def test_two_equal_bits_by_hand() -> None:
    """One by one writes the joint; both at once write half of it elsewhere, log 2 nats more."""
    choices = Choices.of(torch.tensor([[0.5, 0.0], [0.0, 0.5]], dtype=torch.float64))
    for groups, nats in (([[0], [1]], 0.0), ([[0, 1], []], math.log(2))):
        policies = sampler_policies(choices, taking(groups), 2)
        completing = completions(choices, policies)
        nothing = choices.contexts - 1
        masked = torch.tensor([True, True])
        assert excess(choices, nothing, masked, 2, completing[0, nothing], 0.01) == pytest.approx(nats, abs=1e-9)
        assert near_best(choices, policies) == float(nats == 0)


def test_a_completion_is_the_chance_of_what_is_left() -> None:
    """From the empty canvas it is the sampler's law; from a context, by Bayes over paths counted one by one."""
    choices = Choices.of(random_joint(3, 3, 2))
    for name in ("random", "top-prob"):
        policies = sampler_policies(choices, make_sampler(name), 3)
        found = completions(choices, policies)
        assert torch.allclose(found[0, -1], choices.law(policies), atol=1e-12)
        arrived = torch.zeros(8, dtype=torch.float64)
        for context, share in enumerate(reached(choices, policies)[1].tolist()):
            arrived += share * found[1, context]
        assert torch.allclose(arrived, choices.law(policies), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_randomised_optimum_is_near_best_at_its_start_and_a_heuristic_only_where_it_loses_little(seed: int) -> None:
    choices = Choices.of(random_joint(seed, 4, 2))
    found = best_randomised(choices, 2)
    assert near_best(choices, found.policies) == 1.0
    for name in ("random", "top-prob", "least-certain"):
        policies = sampler_policies(choices, make_sampler(name), 2)
        lost = choices.nll(choices.law(policies)) - found.nll
        assert near_best(choices, policies) == float(lost <= 0.01), name


def test_a_context_that_no_text_shows_has_nothing_to_lose() -> None:
    """Four equal bits, the first two at once: a bad start, and nothing more to lose from 00, 11, 01 or 10 on."""
    joint = torch.zeros(2, 2, 2, 2, dtype=torch.float64)
    joint[0, 0, 0, 0] = joint[1, 1, 1, 1] = 0.5
    choices = Choices.of(joint)
    policies = sampler_policies(choices, taking([[0, 1], [2], [3]]), 3)
    assert near_best(choices, policies) == pytest.approx(0.5)
