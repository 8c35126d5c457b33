"""Small enumerable problems with a free parameter for everything: theta, psi and phi of the equations."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.denoisers.base import Denoised
from unmask.denoisers.table import LearnableTable, TableDenoiser, context_index
from unmask.reveals import Bernoulli, ScoreRatio


@dataclass(frozen=True)
class Problem:
    """Texts of `length` positions over `vocabulary` tokens, written in at most `budget` steps.

    theta: the denoiser, a table with a gradient. psi: [(V+1)^L, T, L], the policy's logits in every context
    at every step. phi: [B, L], the posterior's scores of every row of `clean`. tau: its temperature.
    """

    clean: Canvas
    denoiser: LearnableTable
    psi: Tensor
    phi: Tensor
    tau: float

    @staticmethod
    def random(
        seed: int, *, length: int = 3, vocabulary: int = 2, budget: int = 3, rows: int = 2, tau: float = 0.7
    ) -> "Problem":
        generator = torch.Generator().manual_seed(seed)
        contexts = (vocabulary + 1) ** length

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        tokens = torch.randint(vocabulary, (rows, length), generator=generator)
        clean = Canvas.make(tokens, torch.ones(rows, length, dtype=torch.bool), budget)
        return Problem(
            clean,
            LearnableTable(1.5 * normal(contexts, length, vocabulary)),
            normal(contexts, budget, length).requires_grad_(),
            normal(rows, length).requires_grad_(),
            tau,
        )

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"theta": self.denoiser.logits, "psi": self.psi, "phi": self.phi}

    def policy(self, canvas: Canvas, denoised: Denoised) -> Bernoulli:
        context = context_index(canvas, canvas.tokens.shape[-1], self.denoiser.logits.shape[-1])
        step = canvas.step.clamp(max=self.psi.shape[1] - 1)
        return Bernoulli(self.psi[context, step], canvas.masked)

    def law(self, scores: Tensor, canvas: Canvas) -> ScoreRatio:
        return ScoreRatio(scores, canvas.masked, self.tau)

    def posterior(self, canvas: Canvas, clean_tokens: Tensor) -> ScoreRatio:
        return self.law(self.phi[canvas.row], canvas)

    def with_clean(self, rows: Tensor) -> "Problem":
        """The same parameters on other rows (repeats allowed); phi keeps its gradient."""
        clean = replace(self.clean.take(rows), row=torch.arange(len(rows)))
        return replace(self, clean=clean, phi=self.phi[rows])


def random_joint(seed: int, length: int, vocabulary: int) -> Tensor:
    """A joint distribution with strong dependence, float64 [V] * L."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn([vocabulary] * length, generator=generator, dtype=torch.float64)
    return logits.flatten().softmax(0).view([vocabulary] * length)


def exact_denoiser(seed: int, length: int, vocabulary: int) -> TableDenoiser:
    return TableDenoiser.of(random_joint(seed, length, vocabulary))
