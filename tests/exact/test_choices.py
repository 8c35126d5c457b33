"""Contexts, choices and outcomes: their numbers, and the law they give against the older way to sum it."""

import math

import pytest
import torch

from unmask.core.errors import UserError
from unmask.exact.choices import MOST_OUTCOMES, Choices, check_steps
from unmask.exact.enumerate import decode_marginal, every_canvas, set_log_probs
from unmask.reveals import Bernoulli

from .problems import Problem, random_joint


@pytest.mark.parametrize(("length", "vocabulary"), [(1, 2), (3, 2), (2, 3), (4, 2)])
def test_there_are_as_many_of_each_as_there_should_be(length: int, vocabulary: int) -> None:
    choices = Choices.of(random_joint(0, length, vocabulary))
    assert choices.contexts == (vocabulary + 1) ** length
    assert len(choices.context) == (vocabulary + 2) ** length
    assert len(choices.choice) == len(choices.target) == (2 * vocabulary + 1) ** length
    assert int(choices.allowed.sum()) == len(choices.allowed) - choices.contexts + vocabulary**length


def test_the_outcomes_of_every_choice_sum_to_one_as_written_and_as_true() -> None:
    choices = Choices.of(random_joint(1, 3, 2))
    everywhere = torch.ones(choices.contexts, dtype=torch.float64)
    for chance in (choices.written, choices.true):
        assert torch.allclose(choices.expected(chance, everywhere), torch.ones(len(choices.context)).double())


def test_one_position_is_written_as_it_is_true_and_two_are_not() -> None:
    choices = Choices.of(random_joint(2, 3, 2))
    revealed = torch.tensor([bin(number).count("1") for number in choices.revealed.tolist()])[choices.choice]
    single = revealed == 1
    assert torch.allclose(choices.written[single], choices.true[single])
    assert not torch.allclose(choices.written[revealed == 2], choices.true[revealed == 2], atol=0.01)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_law_is_that_of_the_decoding_programme(steps: int) -> None:
    problem = Problem.random(3, budget=steps)
    joint = random_joint(3, 3, 2)
    choices = Choices.of(joint)
    policies = []
    for step in range(steps - 1):
        canvas = every_canvas(3, 2, step, steps)
        chance = set_log_probs(problem.policy(canvas, choices.denoiser(canvas)), 3).double().exp()
        policies.append(chance[choices.context, choices.revealed].detach())
    expected = decode_marginal(choices.denoiser, problem.policy, length=3, vocabulary=2, budget=steps)
    assert torch.allclose(choices.law(policies), expected.detach().flatten(), atol=1e-14)


def test_a_policy_that_may_reveal_nothing_has_a_law_too() -> None:
    joint = random_joint(4, 3, 2)
    choices = Choices.of(joint)

    def lazy(canvas, denoised) -> Bernoulli:
        return Bernoulli(torch.full(canvas.masked.shape, -1.0).double(), canvas.masked, non_empty=False)

    canvas = every_canvas(3, 2, 0, 2)
    chance = set_log_probs(lazy(canvas, None), 3).exp()[choices.context, choices.revealed]
    expected = decode_marginal(choices.denoiser, lazy, length=3, vocabulary=2, budget=2)
    assert torch.allclose(choices.law([chance]), expected.flatten(), atol=1e-14)


def test_nll_by_hand_and_infinite_where_a_text_is_never_written() -> None:
    choices = Choices.of(torch.tensor([[0.5, 0.0], [0.0, 0.5]], dtype=torch.float64))
    assert choices.nll(torch.tensor([0.25, 0.25, 0.25, 0.25]).double()) == pytest.approx(2 * math.log(2))
    assert choices.nll(torch.tensor([1.0, 0.0, 0.0, 0.0]).double()) == math.inf


def test_too_large_is_refused_with_its_count_and_the_limit() -> None:
    with pytest.raises(UserError, match=r"5\^11 = 48,828,125 outcomes.*limit is 10,000,000"):
        Choices.of(torch.zeros([2] * 11))
    assert MOST_OUTCOMES >= 5**10


@pytest.mark.parametrize(
    ("entry", "message"),
    [(-0.1, r"entry \(1, 0\) is negative"), (math.nan, "is not a number"), (0.7, "sums to 1.4")],
)
def test_what_is_no_distribution_is_refused_with_the_entry(entry: float, message: str) -> None:
    joint = torch.full((2, 2), 0.25, dtype=torch.float64)
    joint[1, 0] = entry
    if entry == 0.7:
        joint[0, 0] = 0.2
    with pytest.raises(UserError, match=message):
        Choices.of(joint)


@pytest.mark.parametrize("steps", [0, 4, True, 1.5])
def test_steps_outside_the_text_are_refused(steps: object) -> None:
    with pytest.raises(UserError, match="from 1 to 3"):
        check_steps(steps, 3)  # type: ignore[arg-type]
