"""Everything that can be summed is summed: bound, marginal and decoding law of short texts, without sampling.

All by dynamic programming over what is visible, so the cost is exponential in the length: (2V+1)^L
transitions for the decoding law, 3^L for one given text. Everything is differentiable, so this is the oracle of
the gradients too.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised, Denoiser
from unmask.denoisers.table import context_digits
from unmask.reveals.base import OrderPolicy, OrderPosterior, RevealLaw
from unmask.reveals.categorical import list_sets


def all_sets(length: int) -> Tensor:
    """bool [2^L, L]: every set of positions; set number s has position i where bit L - 1 - i of s is 1."""
    return list_sets(length)


def set_number(positions: Tensor) -> Tensor:
    """long [...]: where `positions` (bool [..., L]) stands in `all_sets`."""
    positions = torch.as_tensor(positions)
    length = positions.shape[-1]
    powers = 2 ** torch.arange(length - 1, -1, -1, device=positions.device)
    return (positions * powers).sum(-1)


def set_log_probs(law: RevealLaw, length: int) -> Tensor:
    """[B, 2^L]: log-probability of every set of positions under each row of `law`."""
    sets = all_sets(length)
    rows = law.inclusion().shape[0]
    return torch.stack([law.log_prob(positions.expand(rows, length)) for positions in sets], dim=-1)


@dataclass(frozen=True)
class Transitions:
    """Every way one step can take one context to the next: (2V+1)^L of them, E for short.

    source, target: long [E], contexts (see `denoisers.table`). revealed: bool [E, L]. tokens: long [E, L],
    the tokens written where revealed, 0 elsewhere.
    """

    source: Tensor
    target: Tensor
    revealed: Tensor
    tokens: Tensor

    @staticmethod
    def of(length: int, vocabulary: int) -> "Transitions":
        """Each position stays visible (V ways), stays masked (1) or is revealed (V ways)."""
        ways = torch.cartesian_prod(*[torch.arange(2 * vocabulary + 1)] * length).reshape(-1, length)
        powers = (vocabulary + 1) ** torch.arange(length - 1, -1, -1)
        revealed = ways > vocabulary
        tokens = torch.where(revealed, ways - vocabulary - 1, 0)
        source = ways.clamp(max=vocabulary)
        target = torch.where(revealed, tokens, source)
        return Transitions((source * powers).sum(-1), (target * powers).sum(-1), revealed, tokens)


def every_canvas(length: int, vocabulary: int, step: int, budget: int) -> Canvas:
    """All (V+1)^L contexts as rows of one canvas, in order, `step` steps into a budget."""
    digits = context_digits(length, vocabulary)
    canvas = Canvas.make(torch.where(digits < vocabulary, digits, 0), digits == vocabulary, budget)
    return replace(canvas, step=torch.full_like(canvas.step, step))


def decode_marginal(
    denoiser: Denoiser,
    policy: OrderPolicy,
    *,
    length: int,
    vocabulary: int,
    budget: int,
    start: Tensor | None = None,
) -> Tensor:
    """float64 [V] * L: the exact probability of every text the sampler can write (equation 7).

    Tokens are drawn at temperature 1 and independently within a step; the last step of the budget reveals all
    that is left. The policy must depend on the canvas and its step alone, and never re-mask. A policy that
    may reveal nothing is allowed.

    start: long [L], the prompt as tokens and V where there is something to write; nothing visible if not
        given.
    """
    move = Transitions.of(length, vocabulary)
    powers = (vocabulary + 1) ** torch.arange(length - 1, -1, -1)
    start = torch.full((length,), vocabulary) if start is None else torch.as_tensor(start)
    if start.shape != (length,) or bool(((start < 0) | (start > vocabulary)).any()):
        raise UserError(f"start must have {length} entries from 0 to {vocabulary}, got {start.tolist()}")
    mass = torch.zeros((vocabulary + 1) ** length, dtype=torch.float64)
    mass[(start * powers).sum()] = 1.0
    for step in range(budget):
        canvas = every_canvas(length, vocabulary, step, budget)
        denoised = denoiser(canvas)
        log_policy = _with_last_step(policy(canvas, denoised), canvas)  # [C, 2^L]
        log_prob = token_log_probs(denoised, vocabulary)  # [C, L, V]
        written = log_prob[move.source].gather(-1, move.tokens[..., None]).squeeze(-1)  # [E, L]
        log_tokens = torch.where(move.revealed, written, 0.0).sum(-1)
        chance = (log_policy[move.source, set_number(move.revealed)] + log_tokens).exp()
        mass = torch.zeros_like(mass).index_add(0, move.target, mass[move.source] * chance)
    complete = mass.reshape([vocabulary + 1] * length)
    for axis in range(length):
        complete = complete.narrow(axis, 0, vocabulary)
    return complete


def token_log_probs(denoised: Denoised, vocabulary: int) -> Tensor:
    """float64 [B, L, V]: log-probability of every token at every masked position, 0 elsewhere."""
    columns = []
    for token in range(vocabulary):
        same = torch.full_like(denoised.where[:, 0], token)
        columns.append(denoised.to_rows(denoised.log_prob(same), 0.0))
    return torch.stack(columns, dim=-1).double()


def log_marginal(clean: Canvas, policy: OrderPolicy, denoiser: Denoiser) -> Tensor:
    """float64 [B]: exact log-probability that the sampler writes `clean`, all orders summed (equation 1).

    clean: whole texts in `tokens`, what the sampler writes in `masked`, the budget in `budget`; step 0.
    """
    lattice = Lattice.of(clean)
    mass = lattice.start()  # [B, 2^L], probability of standing there having written the true tokens
    for step in range(int(clean.budget.max())):
        canvas = lattice.canvas(step)
        denoised = denoiser(canvas)
        log_policy = lattice.gather(_with_last_step(policy(canvas, denoised), canvas))  # [B, E]
        mass = lattice.move(mass, (log_policy + lattice.log_tokens(canvas, denoised)).exp())
    return mass[:, 0].log()


def exact_elbo(clean: Canvas, posterior: OrderPosterior, policy: OrderPolicy, denoiser: Denoiser) -> Tensor:
    """float64 [B]: the bound of equation 2, expectation over every order of the posterior included."""
    lattice = Lattice.of(clean)
    mass = lattice.start()  # [B, 2^L], probability that the posterior stands there
    total = torch.zeros(len(clean.row), dtype=torch.float64)
    for step in range(int(clean.budget.max())):
        canvas = lattice.canvas(step)
        denoised = denoiser(canvas)
        log_policy = lattice.gather(_with_last_step(policy(canvas, denoised), canvas))  # [B, E]
        log_posterior = lattice.gather(_with_last_step(posterior(canvas, canvas.tokens), canvas))
        chance = log_posterior.exp()
        arrived = mass[:, lattice.moves.source]
        possible = (log_posterior > NEG_INF) & (arrived > 0)
        log_ratio = torch.where(possible, log_policy - log_posterior, 0.0)  # 0 * -inf would be NaN
        total = total + (arrived * chance * (lattice.log_tokens(canvas, denoised) + log_ratio)).sum(-1)
        mass = lattice.move(mass, chance)
    return total


@dataclass(frozen=True)
class Lattice:
    """All masked sets of each of `B` given texts, and the 3^L moves between them (E for short).

    A set is numbered as in `all_sets`, so number 0 is the finished text.
    """

    clean: Canvas
    moves: Transitions

    @staticmethod
    def of(clean: Canvas) -> "Lattice":
        """The sets below `clean.masked` (the others are there too, but nothing leads to them)."""
        return Lattice(clean, Transitions.of(clean.masked.shape[-1], 1))

    def start(self) -> Tensor:
        """float64 [B, 2^L]: all mass where everything that may be masked is."""
        rows, length = self.clean.masked.shape
        mass = torch.zeros(rows, 2**length, dtype=torch.float64)
        return mass.scatter(1, set_number(self.clean.masked)[:, None], 1.0)

    def canvas(self, step: int) -> Canvas:
        """[B * 2^L] rows: every set of every text, clean tokens everywhere, identities those of the texts."""
        sets = all_sets(self.clean.masked.shape[-1])
        paths = self.clean.take(torch.arange(len(self.clean.row)).repeat_interleave(len(sets)))
        masked = sets.repeat(len(self.clean.row), 1) & paths.masked
        return replace(paths, masked=masked, step=torch.full_like(paths.step, step))

    def gather(self, table: Tensor) -> Tensor:
        """float64 [B, E]: entries of `table` ([B * 2^L, 2^L], one per set and set revealed) for every move."""
        sets = table.shape[-1]
        table = table.double().view(-1, sets, sets)
        return table[:, self.moves.source, set_number(self.moves.revealed)]

    def log_tokens(self, canvas: Canvas, denoised: Denoised) -> Tensor:
        """float64 [B, E]: summed log-probability of the true tokens that each move reveals."""
        log_prob = denoised.to_rows(denoised.log_prob(denoised.from_rows(canvas.tokens)), 0.0).double()
        log_prob = log_prob.view(len(self.clean.row), -1, log_prob.shape[-1])  # [B, 2^L, L]
        return torch.where(self.moves.revealed, log_prob[:, self.moves.source], 0.0).sum(-1)

    def move(self, mass: Tensor, chance: Tensor) -> Tensor:
        """[B, 2^L]: `mass` after a step whose every move has `chance` [B, E]."""
        return torch.zeros_like(mass).index_add(1, self.moves.target, mass[:, self.moves.source] * chance)


def _with_last_step(law: RevealLaw, canvas: Canvas) -> Tensor:
    """float64 [B, 2^L]: log-probability of every set, the last step revealing exactly what is masked."""
    length = canvas.masked.shape[-1]
    everything = set_number(canvas.masked)[:, None] == torch.arange(2**length)
    forced = torch.where(everything, 0.0, NEG_INF).double()
    return torch.where(canvas.last_step[:, None], forced, set_log_probs(law, length).double())
