"""Distributions over short texts whose best order can be computed: a family for each thing an order must know.

    chain          neighbours depend: write every other position first
    tree           the same on a random tree
    ising-*        everything depends on everything, at three strengths
    pairs          independent pairs: one of each pair, all at once
    gate           two bits say which of four others belong together: the best order depends on what was written
    parity         all independent until the last, which is the parity of the rest
    hmm            two interleaved hidden Markov chains: one position of each at a time
    latin          the rows of a random Latin square: one symbol says all the others
    trap           the most certain positions are the ones that must not go together

An instance is a pure function of (family, number).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.errors import UserError
from unmask.core.registry import check_name
from unmask.denoisers.table import Joint, read_joint

INSTANCES = 5
SMALLEST_NOISE = 1e-3  # share of the uniform distribution in every instance: every text can be written

Generate = Callable[[torch.Generator], Tensor]


class Family(NamedTuple):
    """make: a joint, float64 [V] * L, from a generator. adapts: the best order depends on what is written."""

    make: Generate
    adapts: bool = False


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """float64, uniform in low..high."""
    return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)


def every_text(length: int, vocabulary: int = 2) -> Tensor:
    """long [V^L, L]: all texts in order."""
    return torch.cartesian_prod(*[torch.arange(vocabulary)] * length).reshape(-1, length)


def from_weights(weight: Tensor, length: int, vocabulary: int = 2) -> Tensor:
    """The joint proportional to `weight` ([V^L]), with a little of the uniform one mixed in."""
    joint = weight / weight.sum()
    joint = (1 - SMALLEST_NOISE) * joint + SMALLEST_NOISE / len(joint)
    return (joint / joint.sum()).view([vocabulary] * length)


def shuffled(joint: Tensor, generator: torch.Generator) -> Tensor:
    """The same distribution with its positions in a random order, so that no sampler gains by where they lie."""
    return joint.permute(torch.randperm(joint.dim(), generator=generator).tolist()).contiguous()


def tree_of(parents: list[int], generator: torch.Generator) -> Tensor:
    """Binary variables, each a noisy copy or a noisy negation of its parent."""
    length = len(parents)
    texts = every_text(length)
    weight = torch.ones(len(texts), dtype=torch.float64)
    for child, parent in enumerate(parents):
        if parent < 0:
            bias = float(uniform(generator, 0.35, 0.65, 1))
            weight = weight * torch.where(texts[:, child] == 1, bias, 1 - bias)
        else:
            same = float(uniform(generator, 0.8, 0.95, 1))
            same = same if float(uniform(generator, 0, 1, 1)) < 0.7 else 1 - same
            weight = weight * torch.where(texts[:, child] == texts[:, parent], same, 1 - same)
    return from_weights(weight, length)


def chain(generator: torch.Generator) -> Tensor:
    """Six bits in a row, in their natural order."""
    return tree_of([-1, 0, 1, 2, 3, 4], generator)


def tree(generator: torch.Generator) -> Tensor:
    """Six bits, each hanging on a random earlier one, in random order."""
    parents = [-1] + [int(torch.randint(child, (1,), generator=generator)) for child in range(1, 6)]
    return shuffled(tree_of(parents, generator), generator)


def ising(strength: float) -> Generate:
    """p(x) proportional to exp(sum_ij J_ij s_i s_j + sum_i h_i s_i), s = +-1, J normal with `strength`."""

    def make(generator: torch.Generator) -> Tensor:
        length = 6
        spins = 2.0 * every_text(length).double() - 1
        couplings = torch.randn(length, length, generator=generator, dtype=torch.float64).triu(1)
        fields = 0.3 * torch.randn(length, generator=generator, dtype=torch.float64)
        energy = strength * ((spins @ couplings) * spins).sum(-1) + spins @ fields
        return from_weights(energy.softmax(0), length)

    return make


def pairs(generator: torch.Generator) -> Tensor:
    """Three independent pairs of bits, in random order."""
    texts = every_text(6)
    weight = torch.ones(len(texts), dtype=torch.float64)
    for first in (0, 2, 4):
        together = float(uniform(generator, 0.85, 0.98, 1))
        bias = float(uniform(generator, 0.4, 0.6, 1))
        weight = weight * torch.where(texts[:, first] == 1, bias, 1 - bias)
        weight = weight * torch.where(texts[:, first] == texts[:, first + 1], together, 1 - together)
    return shuffled(from_weights(weight, 6), generator)


def gate(generator: torch.Generator) -> Tensor:
    """Bits 0 and 1 say which of the three pairings of the other four holds; the two bits of a pair are nearly equal."""
    pairings = (((2, 3), (4, 5)), ((2, 4), (3, 5)), ((2, 5), (3, 4)))
    texts = every_text(6)
    chances = uniform(generator, 0.9, 1.1, 4) * torch.tensor([1.0, 1.0, 0.5, 0.5])  # pairings about equally likely
    key = 2 * texts[:, 0] + texts[:, 1]
    weight = (chances / chances.sum())[key]
    together = float(uniform(generator, 0.97, 0.995, 1))
    for number, pairing in enumerate(pairings):
        for first, second in pairing:
            fits = torch.where(texts[:, first] == texts[:, second], together, 1 - together) / 2
            here = key.clamp(max=2) == number  # the fourth setting of the gate is the third pairing too
            weight = torch.where(here, weight * fits, weight)
    return from_weights(weight, 6)


def parity(generator: torch.Generator) -> Tensor:
    """Five nearly fair bits and, somewhere among them, the parity of all five."""
    texts = every_text(6)
    bias = uniform(generator, 0.4, 0.6, 5)
    weight = torch.where(texts[:, :5] == 1, bias, 1 - bias).prod(-1)
    weight = torch.where(texts.sum(-1) % 2 == 0, weight, 0.0)
    return shuffled(from_weights(weight, 6), generator)


def hidden_chain(generator: torch.Generator, length: int) -> Tensor:
    """float64 [2] * length: what a two-state hidden Markov chain emits, by the forward recursion."""
    stay = uniform(generator, 0.85, 0.97, 2)
    emit = torch.stack([uniform(generator, 0.03, 0.12, 1), uniform(generator, 0.88, 0.97, 1)]).squeeze(-1)
    move = torch.tensor([[stay[0], 1 - stay[0]], [1 - stay[1], stay[1]]], dtype=torch.float64)
    texts = every_text(length)
    chance = torch.where(texts[..., None] == 1, emit, 1 - emit)  # [2^L, L, state]
    forward = 0.5 * chance[:, 0]
    for position in range(1, length):
        forward = (forward @ move) * chance[:, position]
    return forward.sum(-1).view([2] * length)


def hmm(generator: torch.Generator) -> Tensor:
    """Two hidden Markov chains of three bits, interleaved at random; each keeps its own order."""
    first, second = hidden_chain(generator, 3), hidden_chain(generator, 3)
    joint = torch.einsum("abc,def->abcdef", first, second)
    places = torch.randperm(6, generator=generator)
    order = [*places[:3].sort().values.tolist(), *places[3:].sort().values.tolist()]
    joint = joint.permute(torch.tensor(order).argsort().tolist()).contiguous()
    return from_weights(joint.flatten(), 6)


def chains_of_hmm(number: int) -> tuple[list[int], list[int]]:
    """Which positions the two chains of instance `number` of `hmm` have."""
    generator = generator_of("hmm", number)
    hidden_chain(generator, 3)
    hidden_chain(generator, 3)
    places = torch.randperm(6, generator=generator)
    return places[:3].sort().values.tolist(), places[3:].sort().values.tolist()


def latin(generator: torch.Generator) -> Tensor:
    """A row of a Latin square of order four, its symbols, rows and columns shuffled, each row about as likely."""
    order = 4
    symbols = torch.randperm(order, generator=generator)
    columns = torch.randperm(order, generator=generator)
    grid = symbols[(torch.arange(order)[:, None] + columns) % order]  # [row, position]
    shares = uniform(generator, 0.8, 1.2, order)
    weight = torch.zeros(order**order, dtype=torch.float64)
    powers = order ** torch.arange(order - 1, -1, -1)
    weight = weight.index_add(0, (grid * powers).sum(-1), shares)
    return from_weights(weight, order, order)


def trap(generator: torch.Generator) -> Tensor:
    """Two pairs of likely bits that are wrong together or not at all, and two fair bits that depend on nothing."""
    texts = every_text(6)
    weight = torch.ones(len(texts), dtype=torch.float64)
    for first in (0, 2):
        wrong = float(uniform(generator, 0.18, 0.3, 1))
        right = texts[:, first] + texts[:, first + 1]
        weight = weight * torch.where(right == 2, 1 - wrong, torch.where(right == 0, wrong - 0.02, 0.01))
    for fair in (4, 5):
        bias = float(uniform(generator, 0.45, 0.55, 1))
        weight = weight * torch.where(texts[:, fair] == 1, bias, 1 - bias)
    return shuffled(from_weights(weight, 6), generator)


FAMILIES: dict[str, Family] = {
    "chain": Family(chain),
    "tree": Family(tree),
    "ising-weak": Family(ising(0.3)),
    "ising-medium": Family(ising(0.6)),
    "ising-strong": Family(ising(1.2)),
    "pairs": Family(pairs),
    "gate": Family(gate, adapts=True),
    "parity": Family(parity),
    "hmm": Family(hmm),
    "latin": Family(latin),
    "trap": Family(trap),
}


def generator_of(family: str, number: int) -> torch.Generator:
    """The stream an instance is drawn from."""
    start = sum(ord(letter) * 257**place for place, letter in enumerate(family)) % (2**31)
    return torch.Generator().manual_seed(start * 1_000 + number)


def instance(family: str, number: int) -> Tensor:
    """float64 [V] * L: instance `number` (0, 1, ...) of a family. Raises UserError on a name that is none."""
    check_name(family, FAMILIES, "family", hint="unmask exact --help")
    if number < 0 or number >= 1_000:
        raise UserError(f"an instance has a number from 0 to 999, got {number}")
    return FAMILIES[family].make(generator_of(family, number))


def entropy(joint: Joint) -> float:
    """-sum p log p in nats: no sampler's NLL is below it. UserError on a joint that is none."""
    joint = read_joint(joint)
    here = joint[joint > 0]
    return float(-(here * here.log()).sum())


