"""Every context of a short text, every set that may be revealed there, and where that leads.

A context is numbered in base V + 1 (see `denoisers.table`). A choice is a context with a set of its masked positions,
numbered in base V + 2, most significant digit first: the token where one is visible, V where a position stays masked,
V + 1 where it is revealed. An outcome is a choice with the tokens that are written, in base 2V + 1. So there are
(V + 1)^L contexts, (V + 2)^L choices and (2V + 1)^L outcomes; every programme of this room is a handful of sums over
the outcomes at each step.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from unmask.core.errors import UserError
from unmask.denoisers.table import Joint, TableDenoiser, context_digits, numbers
from unmask.exact.enumerate import Transitions, set_number

MOST_OUTCOMES = 10_000_000  # five to the tenth is just below


def check_steps(steps: int, length: int) -> int:
    """`steps`, or a UserError if there cannot be so many."""
    if isinstance(steps, bool) or not hasattr(steps, "__index__") or not 1 <= steps <= length:
        raise UserError(f"steps must be a whole number from 1 to {length}, the length of the text, got {steps}")
    return steps


def check_size(shape: tuple[int, ...]) -> None:
    """Raise UserError if a joint of this shape has too many outcomes to enumerate."""
    if shape and len(set(shape)) == 1:
        length, vocabulary = len(shape), shape[0]
        outcomes = (2 * vocabulary + 1) ** length
        if outcomes > MOST_OUTCOMES:
            raise UserError(
                f"{length} positions over {vocabulary} tokens are too many to enumerate: {2 * vocabulary + 1}^{length} "
                f"= {outcomes:,} outcomes of a step, and the limit is {MOST_OUTCOMES:,}; make the text shorter"
            )


@dataclass(frozen=True)
class Choices:
    """The decisions of a sampler that writes texts of a joint distribution with its true conditionals.

    C contexts, A choices, E outcomes.

    denoiser:   the true conditionals.
    context:    long [A], where a choice is made.
    revealed:   long [A], the number of the set revealed (see `enumerate.all_sets`).
    allowed:    bool [A], False where nothing is revealed though something is masked.
    all_that_is_left: long [C], the choice that reveals everything, which is what the last step does.
    choice, target: long [E], what an outcome is an outcome of, and the context it leads to.
    written:    float64 [E], prod_{i in S} p(x_i | visible): how a step that reveals S writes.
    true:       float64 [E], p(x_S | visible): what the text says with that much visible.
    cost:       float64 [A], sum_{i in S} H(x_i | visible), the expected nats a choice pays for its tokens.
    """

    denoiser: TableDenoiser
    context: Tensor
    revealed: Tensor
    allowed: Tensor
    all_that_is_left: Tensor
    choice: Tensor
    target: Tensor
    written: Tensor
    true: Tensor
    cost: Tensor

    @staticmethod
    def of(joint: Joint) -> "Choices":
        """Enumerate. joint: [V] * L that sums to 1, in any form `read_joint` takes. UserError if not, or too large."""
        joint = numbers(joint).cpu()
        check_size(tuple(joint.shape))
        denoiser = TableDenoiser.of(joint)
        length, vocabulary = denoiser.length, denoiser.vocabulary
        digits = context_digits(length, vocabulary + 1)  # [A, L]
        shown = digits.clamp(max=vocabulary)
        context = (shown * powers(vocabulary + 1, length)).sum(-1)
        revealed = digits == vocabulary + 1
        whole = torch.where(context_digits(length, vocabulary) == vocabulary, vocabulary + 1, 0)  # [C, L]
        visible = torch.where(whole > 0, 0, context_digits(length, vocabulary))
        log_conditionals = denoiser.log_conditionals  # [C, L, V]
        entropy = -(log_conditionals.exp() * log_conditionals.clamp(min=-1e300)).sum(-1)  # [C, L]
        move = Transitions.of(length, vocabulary)
        taken = torch.where(move.revealed, vocabulary + 1, context_digits(length, vocabulary)[move.source])
        log_written = log_conditionals[move.source].gather(-1, move.tokens[..., None]).squeeze(-1)
        mass = context_mass(joint)
        return Choices(
            denoiser=denoiser,
            context=context,
            revealed=set_number(revealed),
            allowed=revealed.any(-1) | (shown < vocabulary).all(-1),
            all_that_is_left=((whole + visible) * powers(vocabulary + 2, length)).sum(-1),
            choice=(taken * powers(vocabulary + 2, length)).sum(-1),
            target=move.target,
            written=torch.where(move.revealed, log_written, 0.0).sum(-1).exp(),
            true=torch.where(mass[move.source] > 0, mass[move.target] / mass[move.source].clamp(min=1e-300), 0.0),
            cost=torch.where(revealed, entropy[context], 0.0).sum(-1),
        )

    @property
    def length(self) -> int:
        """Positions."""
        return self.denoiser.length

    @property
    def contexts(self) -> int:
        """C."""
        return int(self.all_that_is_left.shape[0])

    @cached_property
    def complete(self) -> Tensor:
        """long [V^L]: the contexts in which everything is visible, in the order of the joint's entries."""
        digits = context_digits(self.length, self.denoiser.vocabulary)
        return (digits < self.denoiser.vocabulary).all(-1).nonzero().squeeze(-1)

    @property
    def text(self) -> Tensor:
        """float64 [V^L]: the joint, flat."""
        return self.denoiser.joint.flatten()

    def expected(self, chance: Tensor, value: Tensor) -> Tensor:
        """[A]: the sum over the outcomes of each choice of `chance` ([E]) times `value` ([C]) where they lead."""
        total = torch.zeros(len(self.context), dtype=torch.float64)
        return total.index_add(0, self.choice, chance * value[self.target])

    def best(self, value: Tensor, largest: bool) -> tuple[Tensor, Tensor]:
        """[C] and long [C]: the best of `value` ([A]) among the choices of each context, and the first that has it."""
        worst = float("-inf") if largest else float("inf")
        offered = torch.where(self.allowed, value, worst)
        found = torch.full((self.contexts,), worst, dtype=torch.float64)
        found = found.scatter_reduce(0, self.context, offered, "amax" if largest else "amin")
        number = torch.arange(len(self.context))
        first = torch.where(self.allowed & (offered == found[self.context]), number, len(number))
        start = torch.full((self.contexts,), len(number))
        return found, start.scatter_reduce(0, self.context, first, "amin")

    def certain(self, choice: Tensor) -> Tensor:
        """float64 [A]: the policy that takes `choice` (long [C])."""
        return torch.zeros(len(self.context), dtype=torch.float64).index_fill(0, choice, 1.0)

    def law(self, policies: list[Tensor]) -> Tensor:
        """float64 [V^L]: what a sampler with these policies writes (equation 7).

        policies: for each step but the last, [A], the chance of each choice in its context. The last step reveals
        all that is left.
        """
        mass = torch.zeros(self.contexts, dtype=torch.float64)
        mass[-1] = 1.0  # nothing is visible
        for policy in [*policies, self.certain(self.all_that_is_left)]:
            arrived = (mass[self.context] * policy)[self.choice] * self.written
            mass = torch.zeros_like(mass).index_add(0, self.target, arrived)
        return mass[self.complete]

    def nll(self, law: Tensor) -> float:
        """-sum_x p(x) log law(x), in nats; infinite where a text of the joint is never written."""
        here = self.text > 0
        return float(-(self.text[here] * law[here].log()).sum())


def powers(base: int, length: int) -> Tensor:
    """long [L]: base^(L-1), ..., base, 1."""
    exponents: Tensor = base ** torch.arange(length - 1, -1, -1)
    return exponents


def context_mass(joint: Tensor) -> Tensor:
    """float64 [C]: the probability of what each context shows."""
    marginals = joint.double()
    for axis in range(joint.dim()):  # index V of an axis: that position is summed out
        marginals = torch.cat([marginals, marginals.sum(axis, keepdim=True)], dim=axis)
    return marginals.flatten()
