"""The optima against plain recursion and plain search on texts of three positions."""

import itertools
import math
import time

import pytest
import torch
from torch import Tensor

from unmask.core.errors import UserError
from unmask.core.order import ordered_partitions
from unmask.exact import entropy, optimum, static_optimum
from unmask.exact.choices import Choices
from unmask.exact.nll import sampler_nll
from unmask.exact.optimum import Optimum, best_deterministic, best_randomised, best_response, fit_shares

from .problems import random_joint


def conditional(joint: Tensor, seen: dict[int, int], position: int, token: int) -> float:
    """p(x_position = token | seen), by summing the joint."""
    index = tuple(seen.get(axis, slice(None)) for axis in range(joint.dim()))
    both = tuple({**seen, position: token}.get(axis, slice(None)) for axis in range(joint.dim()))
    return float(joint[both].sum() / joint[index].sum())


def recursion(joint: Tensor, seen: dict[int, int], steps: int) -> float:
    """Equation 8 as it is written down, with dictionaries."""
    masked = [axis for axis in range(joint.dim()) if axis not in seen]
    if not masked:
        return 0.0
    sizes = range(len(masked) if steps == 1 else 1, len(masked) + 1)
    sets = [chosen for size in sizes for chosen in itertools.combinations(masked, size)]
    found = math.inf
    here = float(joint[tuple(seen.get(axis, slice(None)) for axis in range(joint.dim()))].sum())
    for chosen in sets:
        total = 0.0
        for tokens in itertools.product(range(joint.shape[0]), repeat=len(chosen)):
            after = seen | dict(zip(chosen, tokens, strict=True))
            true = float(joint[tuple(after.get(axis, slice(None)) for axis in range(joint.dim()))].sum()) / here
            nats = -sum(math.log(conditional(joint, seen, i, v)) for i, v in zip(chosen, tokens, strict=True))
            total += true * (nats + recursion(joint, after, steps - 1))
        found = min(found, total)
    return found


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_deterministic_optimum_is_that_of_plain_recursion(seed: int, steps: int) -> None:
    joint = random_joint(seed, 3, 2)
    assert optimum(joint, steps) == pytest.approx(recursion(joint, {}, steps), abs=1e-12)


def test_a_deterministic_policy_costs_what_its_one_path_costs() -> None:
    joint = random_joint(5, 4, 2)
    choices = Choices.of(joint)
    for steps in (1, 2, 3, 4):
        value = choices.cost[choices.all_that_is_left]
        for _ in range(steps - 1):
            value, _ = choices.best(choices.cost + choices.expected(choices.true, value), largest=False)
        assert best_deterministic(choices, steps).nll == pytest.approx(float(value[-1]), abs=1e-12)


def test_one_step_pays_the_marginals_and_one_position_per_step_the_entropy() -> None:
    for vocabulary, length in ((2, 4), (3, 3)):
        joint = random_joint(2, length, vocabulary)
        marginals = [joint.sum([other for other in range(length) if other != axis]) for axis in range(length)]
        assert optimum(joint, 1) == pytest.approx(sum(entropy(marginal) for marginal in marginals))
        assert optimum(joint, length) == pytest.approx(entropy(joint))
        assert static_optimum(joint, length) == pytest.approx(entropy(joint))
        assert optimum(joint, length, randomised=True) == pytest.approx(entropy(joint), abs=1e-4)


def test_two_equal_coins_by_hand() -> None:
    joint = torch.tensor([[0.5, 0.0], [0.0, 0.5]], dtype=torch.float64)
    assert optimum(joint, 1) == pytest.approx(2 * math.log(2))
    for found in (optimum(joint, 2), optimum(joint, 2, randomised=True), static_optimum(joint, 2)):
        assert found == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_static_optimum_is_the_best_of_all_ordered_partitions(steps: int) -> None:
    joint = random_joint(7, 3, 2)
    found = []
    for order in ordered_partitions(3, steps).steps.tolist():
        groups = [[i for i in range(3) if order[i] == step] for step in range(1, max(order) + 1)]
        total, seen = 0.0, ()
        for group in groups:
            for tokens in itertools.product((0, 1), repeat=len(seen)):
                context = dict(zip(seen, tokens, strict=True))
                here = float(joint[tuple(context.get(axis, slice(None)) for axis in range(3))].sum())
                for i in group:
                    chances = [conditional(joint, context, i, v) for v in (0, 1)]
                    total -= here * sum(p * math.log(p) for p in chances)
            seen = (*seen, *group)
        found.append(total)
    assert static_optimum(joint, steps) == pytest.approx(min(found), abs=1e-12)


def mixture_by_em(joint: Tensor) -> float:
    """The best mixture of all first sets at two steps, by very many rounds of plain EM."""
    choices = Choices.of(joint)
    blank = [number for number in range(len(choices.context)) if int(choices.context[number]) == choices.contexts - 1]
    laws = []
    for first in blank:
        if bool(choices.allowed[first]):
            chosen = choices.all_that_is_left.clone()
            chosen[-1] = first
            laws.append(choices.law([choices.certain(chosen)]))
    shares = torch.full((len(laws),), 1 / len(laws), dtype=torch.float64)
    every = torch.stack(laws)
    for _ in range(20_000):
        shares = shares * (every @ (choices.text / (shares @ every)))
    return choices.nll(shares @ every)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_randomised_optimum_is_that_of_plain_em(seed: int) -> None:
    joint = random_joint(seed, 3, 2)
    expected = mixture_by_em(joint)
    found = best_randomised(Choices.of(joint), 2)
    assert found.nll == pytest.approx(expected, abs=1e-4)
    assert found.nll - found.gap <= expected + 1e-9  # the certificate is a bound


def test_draws_can_beat_every_deterministic_order_and_never_lose() -> None:
    strictly = 0
    for seed in range(6):
        joint = random_joint(seed, 4, 2)
        for steps in (2, 3):
            fixed, drawn = optimum(joint, steps), optimum(joint, steps, randomised=True)
            assert entropy(joint) - 1e-9 <= drawn <= fixed + 1e-4
            strictly += drawn < fixed - 0.01
    assert strictly >= 3


def test_the_policies_that_draw_write_what_the_mixture_writes() -> None:
    choices = Choices.of(random_joint(3, 4, 2))
    found = best_randomised(choices, 3)
    for policy in found.policies:
        total = torch.zeros(choices.contexts).double().index_add(0, choices.context, policy)
        assert torch.allclose(total, torch.ones_like(total))
        assert (policy[~choices.allowed] == 0).all()
    assert torch.allclose(choices.law(found.policies), found.law, atol=1e-12)


def test_no_policy_writes_more_weight_than_the_best_response() -> None:
    choices = Choices.of(random_joint(4, 3, 2))
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(8, generator=generator, dtype=torch.float64)
    best = best_response(choices, 3, weight)
    assert best.weight == pytest.approx(float(weight @ best.law))
    for _ in range(200):
        policies = []
        for _ in range(2):
            raw = torch.rand(len(choices.context), generator=generator, dtype=torch.float64) * choices.allowed
            total = torch.zeros(choices.contexts).double().index_add(0, choices.context, raw)
            policies.append(raw / total[choices.context])
        assert float(weight @ choices.law(policies)) <= best.weight + 1e-12


def test_shares_of_a_mixture_satisfy_the_conditions_of_the_optimum() -> None:
    generator = torch.Generator().manual_seed(1)
    laws = torch.rand(30, 16, generator=generator, dtype=torch.float64)
    laws = laws / laws.sum(-1, keepdim=True)
    text = torch.rand(16, generator=generator, dtype=torch.float64)
    text = text / text.sum()
    shares = fit_shares(laws, text)
    slope = laws @ (text / (shares @ laws))  # 1 where a share is used, at most 1 elsewhere
    assert float(slope.max()) <= 1 + 1e-6
    assert float((slope[shares > 1e-4] - 1).abs().max()) < 1e-5
    assert float(shares.sum()) == pytest.approx(1)


def test_no_heuristic_is_below_the_randomised_optimum() -> None:
    joint = random_joint(9, 4, 2)
    for steps in (2, 3):
        best = optimum(joint, steps, randomised=True)
        for spec in ("random", "iid", "top-prob", "margin", "least-certain", "threshold:level=0.6", "left-to-right"):
            assert sampler_nll(joint, spec, steps) >= best - 1e-4


def test_steps_and_tables_that_cannot_be_are_refused() -> None:
    joint = random_joint(0, 3, 2)
    for steps in (0, 4):
        for call in (optimum, static_optimum):
            with pytest.raises(UserError, match="from 1 to 3"):
                call(joint, steps)
    with pytest.raises(UserError, match="sums to"):
        optimum(joint * 2, 2)


@pytest.mark.slow
def test_eight_bits_in_four_steps_are_quick_enough() -> None:
    began = time.monotonic()
    joint = random_joint(0, 8, 2)
    assert optimum(joint, 4, randomised=True) <= optimum(joint, 4) + 1e-4
    assert time.monotonic() - began < 120  # some ten seconds on one core; a limit against another order of growth


def test_a_certificate_that_is_not_good_enough_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    joint = random_joint(0, 3, 2)
    loose = Optimum(1.5, 0.25, [], joint.flatten())
    monkeypatch.setitem(optimum.__globals__, "best_randomised", lambda choices, steps: loose)
    with pytest.warns(UserWarning, match=r"within 2.5e-01 nats: between 1.250000 and 1.500000"):
        assert optimum(joint, 2, randomised=True) == 1.5
