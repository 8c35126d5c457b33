"""The families: distributions, always the same ones, each with the property it is there for."""

import hashlib

import pytest
import torch

from unmask.core.errors import UserError
from unmask.exact import FAMILIES, entropy, instance, optimum, static_optimum
from unmask.exact.nll import sampler_nll
from unmask.exact.suite import INSTANCES, chains_of_hmm

GOLDEN = "f2e6f40a097dead93beb4c9c55ab56d760f8983c861fd89f76cc962eaf78e0ea"
every_family = pytest.mark.parametrize("family", FAMILIES)


@every_family
def test_instances_are_distributions_that_can_write_every_text(family: str) -> None:
    for number in range(INSTANCES):
        joint = instance(family, number)
        assert joint.dtype == torch.float64
        assert float(joint.sum()) == pytest.approx(1, abs=1e-12)
        assert float(joint.min()) > 0


@every_family
def test_an_instance_is_a_function_of_its_number(family: str) -> None:
    torch.manual_seed(1)
    first = instance(family, 3)
    torch.manual_seed(2)
    assert torch.equal(first, instance(family, 3))
    assert not torch.equal(first, instance(family, 4))


def test_the_suite_is_frozen() -> None:
    rounded = [f"{p:.6f}" for family in FAMILIES for number in range(2) for p in instance(family, number).flatten()]
    assert hashlib.sha256(" ".join(rounded).encode()).hexdigest() == GOLDEN


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.adapts])
def test_where_the_order_must_adapt_it_gains_at_least_a_twentieth_of_a_nat(family: str) -> None:
    for number in range(INSTANCES):
        joint = instance(family, number)
        assert static_optimum(joint, 3) - optimum(joint, 3) >= 0.05


def test_parity_depends_only_as_a_whole() -> None:
    joint = instance("parity", 0)
    for axis in range(6):  # without any one bit the others are all but independent
        rest = joint.sum(axis)
        marginals = [rest.sum([other for other in range(5) if other != place]) for place in range(5)]
        assert sum(map(entropy, marginals)) - entropy(rest) < 0.05
    assert optimum(joint, 2) == pytest.approx(entropy(joint), abs=0.01)


def test_the_two_chains_of_hmm_are_independent_and_each_is_not() -> None:
    for number in range(INSTANCES):
        joint = instance("hmm", number)
        first, second = chains_of_hmm(number)
        parts = joint.sum(second), joint.sum(first)
        assert sum(map(entropy, parts)) - entropy(joint) < 0.02
        for part in parts:
            marginals = [part.sum([other for other in range(3) if other != place]) for place in range(3)]
            assert sum(map(entropy, marginals)) - entropy(part) > 0.1
        assert optimum(joint, 3) == pytest.approx(entropy(joint), abs=0.005)  # one of each chain at a time


def test_one_symbol_of_a_latin_row_says_the_others() -> None:
    joint = instance("latin", 0)
    assert joint.shape == (4, 4, 4, 4)
    seen = joint[:, 2].sum([1, 2])  # by the first symbol
    assert float((seen / seen.sum()).max()) > 0.98


def test_in_a_trap_the_most_certain_positions_must_not_go_together() -> None:
    for number in range(INSTANCES):
        joint = instance("trap", number)
        assert sampler_nll(joint, "top-prob", 2) - optimum(joint, 2) > 0.3
        assert sampler_nll(joint, "random", 2) < sampler_nll(joint, "top-prob", 2)


def test_wrong_names_and_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="Did you mean `gate`"):
        instance("gates", 0)
    with pytest.raises(UserError, match="from 0 to 999"):
        instance("gate", 1000)
