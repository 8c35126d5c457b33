"""No miss along a path of the second stage: greedy decoding with the same draws writes exactly this text."""

import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.denoisers.table import LearnableTable
from unmask.objectives.on_policy import path_log_likelihoods
from unmask.objectives.rollout import paths_of
from unmask.reveals.bernoulli import Bernoulli
from unmask.samplers import Learned, decode_canvas

LENGTH, VOCABULARY, SAMPLES = 4, 2, 8


def policy(canvas: Canvas, denoised) -> Bernoulli:
    """Depends on what is written, so that one wrong token may change the rest of the path."""
    return Bernoulli(denoised.to_rows(denoised.top2[:, 0].double() * 3 - 2, 0.0), canvas.masked)


def test_greedy_decoding_writes_the_text_exactly_where_no_argmax_misses() -> None:
    """All 16 texts, budgets 1 to 3, random conditionals: row by row, and both outcomes occur."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(((VOCABULARY + 1) ** LENGTH, LENGTH, VOCABULARY), generator=generator, dtype=torch.float64)
    denoiser = LearnableTable(table)
    texts = torch.cartesian_prod(*[torch.arange(VOCABULARY)] * LENGTH)
    seen = set()
    for budget in (1, 2, 3):
        clean = Canvas.make(texts, torch.ones_like(texts, dtype=torch.bool), budget)
        for seed in range(5):
            paths = path_log_likelihoods(clean, policy, denoiser, draws=Draws(seed), samples=SAMPLES)
            decoded = decode_canvas(denoiser, paths_of(clean, SAMPLES), Learned(policy), seed=seed)
            written = decoded.canvas.tokens == texts.repeat_interleave(SAMPLES, dim=0)
            right = paths.misses.flatten() == 0
            assert torch.equal(written.all(dim=-1), right)
            assert torch.equal(decoded.revealed_at[right], paths.order.steps[right])
            seen |= set(right.tolist())
    assert seen == {True, False}
