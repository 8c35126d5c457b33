"""The second stage with what happens inside a step summed out: paths tilted towards what will be right (**ours**).

Equation 6b credits a path with c = prod_t prod_{i in S_t} c_i and learns from which of K drawn paths did better. Most
of the difference between two paths is luck of the coins, and on a hard text all K may fail and teach nothing. Here the
step draws from the policy's law tilted by what revealing each position is worth, known since the text is (equation 6c):

    r(S) = p(S) prod_{i in S} c_i / Z,        Z = sum_S p(S) prod_{i in S} c_i = E_p[credit of this step]

A path then weighs w = prod_t Z_t, and r(path) w(path) = p(path) c(path) for every path, so E_r[w] = E_p[c]: same
objective. But w is differentiable in the policy: every masked position that would be wrong now pushes its own coin
down at every canvas visited, drawn or not, and paths live on where drawn ones would have failed.
(The locally optimal proposal of sequential Monte Carlo: Doucet et al. 2000, without resampling.)
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.order import Order
from unmask.denoisers.base import Denoiser
from unmask.objectives.paths import Truth, walk_paths
from unmask.reveals.base import OrderPolicy, RevealLaw


@dataclass(frozen=True)
class Credit:
    """What revealing a position is worth: log c_i = likelihood * log p_theta(x_i | .) - miss * [its argmax is not x_i].

    `Credit(1, 0)`: E_p[c] = p(x), the likelihood of the text under decoding at temperature 1 (equation 6b).
    `Credit(0, large)`: E_p[c] is the chance that greedy decoding writes exactly this text. A moderate `miss` (3)
    still learns from texts on which every path has some miss.
    """

    likelihood: float = 1.0
    miss: float = 0.0

    def log_factor(self, truth: Truth) -> Tensor:
        """[N, L]: log c_i, 0 where not masked."""
        return self.likelihood * truth.log_prob - self.miss * truth.missed


class Tilted(Protocol):
    """What `law.tilt(log_factor)` gives: the tilted law and log Z, [N]."""

    @property
    def law(self) -> RevealLaw: ...

    @property
    def log_mass(self) -> Tensor: ...


class Tiltable(RevealLaw, Protocol):
    """A law that can be tilted, as `Bernoulli` can."""

    def tilt(self, log_factor: Tensor) -> Tilted: ...


class TiltedPaths(NamedTuple):
    """K paths of each row, drawn from the tilted policy.

    log_weight: [B, K], sum_t log Z_t, the last step of the budget counting the credit of all it reveals;
                differentiable in psi, and in theta where the credit is.
    log_drawn:  [B, K], sum_t log r(S_t), the law the path was drawn from; differentiable likewise.
    entropy:    [B, K], summed entropy of the policy itself where it had a choice.
    misses:     [B, K], positions at which the most probable token was not the true one, no gradient.
    log_likelihood: [B, K], sum_t log p_theta(x_{S_t} | .), differentiable in theta: what a denoiser that is trained
                along is fitted by.
    order:      the paths, [B * K] rows.
    """

    log_weight: Tensor
    log_drawn: Tensor
    entropy: Tensor
    misses: Tensor
    log_likelihood: Tensor
    order: Order


class _Walked(NamedTuple):
    """One step of N rows: positions bool [N, L]; the rest [N], as in `TiltedPaths`."""

    positions: Tensor
    log_weight: Tensor
    log_drawn: Tensor
    entropy: Tensor
    misses: Tensor
    log_likelihood: Tensor


def tilted_paths(
    clean: Canvas,
    policy: OrderPolicy,
    denoiser: Denoiser,
    *,
    draws: Draws,
    samples: int = 8,
    credit: Credit = Credit(),
    order: Order | None = None,
    with_entropy: bool = True,
) -> TiltedPaths:
    """Draw K = `samples` paths for each row of `clean` and weigh them (equation 6c); `vimco_surrogate` takes both.

    The policy's law must have `tilt`. Without `with_entropy` its entropy is left at 0: some families have to sum over
    all sets for it. Shapes and costs as in `paths.walk_paths`.
    """

    def step(canvas: Canvas, law: RevealLaw, truth: Truth, given: Tensor | None) -> _Walked:
        factor = credit.log_factor(truth)
        tilted = cast(Tiltable, law).tilt(factor)
        last = canvas.last_step
        if given is None:
            given = torch.where(last[:, None], canvas.masked, tilted.law.sample(draws.at(canvas)))
        return _Walked(
            positions=given,
            log_weight=torch.where(last, factor.sum(-1), tilted.log_mass),
            log_drawn=torch.where(last, 0.0, tilted.law.log_prob(given)),
            entropy=torch.where(last, 0.0, law.entropy()) if with_entropy else torch.zeros_like(tilted.log_mass),
            misses=torch.where(given, truth.missed, 0.0).sum(-1),
            log_likelihood=torch.where(given, truth.log_prob, 0.0).sum(-1),
        )

    walked, totals = walk_paths(clean, policy, denoiser, step, samples=samples, order=order)
    log_weight, log_drawn, entropy, misses, log_likelihood = totals
    return TiltedPaths(log_weight, log_drawn, entropy, misses, log_likelihood, walked)
