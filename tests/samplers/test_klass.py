import math
from dataclasses import dataclass

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers import base
from unmask.denoisers.base import Denoised
from unmask.samplers import decode_canvas, make_sampler
from unmask.samplers.klass import KLASS
from unmask.samplers.previous import Previous


@dataclass(frozen=True)
class Script:
    """Two tokens; the probability of token 0 per position, a list for each step; then the last for ever."""

    steps: list[list[float]]

    def __call__(self, canvas: Canvas) -> Denoised:
        row, column = canvas.masked.nonzero(as_tuple=True)
        table = torch.tensor(self.steps, dtype=torch.float64)
        first = table[canvas.step.clamp(max=len(table) - 1)[row], column]
        return Denoised.from_logits(canvas, torch.stack([first, 1 - first], dim=-1).log())

    def revealed_at(self, unmasker, budget: int) -> list[int]:
        masked = torch.ones(1, len(self.steps[0]), dtype=torch.bool)
        canvas = Canvas.make(torch.zeros_like(masked, dtype=torch.long), masked, budget)
        return decode_canvas(self, canvas, unmasker).revealed_at[0].tolist()


def test_two_small_moves_and_enough_confidence_by_hand():
    """Steps 1 and 2 have no two moves to go by: the surest, 0, then 1. At step 3 position 2 stood still twice and has
    .7 > .6: ready. Position 3 stood still too but has .55; position 4 moved from .9 to .7, by .154 nats. At step 4 only
    one move of position 4 was small, so the quota: the surest, 4 itself. Then 3.
    """
    moved = 0.7 * math.log(0.7 / 0.9) + 0.3 * math.log(0.3 / 0.1)
    assert moved == pytest.approx(0.1537, abs=1e-4)
    case = Script([[0.99, 0.98, 0.7, 0.55, 0.9], [0.99, 0.98, 0.7, 0.55, 0.7], [0.99, 0.98, 0.7, 0.55, 0.8]])
    assert case.revealed_at(KLASS(), budget=9) == [1, 2, 3, 5, 4]


def test_all_that_are_ready_go_together():
    case = Script([[0.99, 0.98, 0.7, 0.8, 0.65]])
    assert case.revealed_at(KLASS(), budget=9) == [1, 2, 3, 3, 3]
    assert case.revealed_at(KLASS(window=1), budget=9) == [1, 2, 2, 2, 2]
    assert case.revealed_at(KLASS(level=0.75), budget=9) == [1, 2, 4, 3, 5]


def test_the_move_is_from_the_old_distribution_to_the_new_and_strictly_below_the_limit():
    """KL(now || before) of (.9, .1) after (.7, .3) is .1163, the other way round .1537."""
    forward = 0.9 * math.log(0.9 / 0.7) + 0.1 * math.log(0.1 / 0.3)
    assert forward == pytest.approx(0.1163, abs=1e-4)
    case = Script([[0.99, 0.7, 0.7, 0.7], [0.99, 0.9, 0.9, 0.9]])
    assert case.revealed_at(KLASS(kl=0.13, window=1), budget=9) == [1, 2, 2, 2]
    assert case.revealed_at(KLASS(kl=0.11, window=1), budget=9) == [1, 2, 3, 3]


def test_the_move_equals_its_definition_however_it_is_chunked(monkeypatch):
    """Another set of positions masked than before, rows gone and turned, chunks that do not fall together."""
    generator = torch.Generator().manual_seed(0)
    masked = torch.rand(4, 6, generator=generator) < 0.8
    logits = torch.randn(2, 4, 6, 5, generator=generator, dtype=torch.float64)
    logits[:, :, :, 2] = -torch.inf
    canvas = Canvas.make(torch.zeros(4, 6, dtype=torch.long), masked, 3)
    rows = torch.tensor([3, 1, 2])
    later = canvas.take(rows)
    later = later.reveal(torch.rand(3, 6, generator=generator) < 0.4, later.tokens)
    before = Previous.of(Denoised.from_logits(canvas, logits[0][masked])).take_rows(rows)
    now = Denoised.from_logits(later, logits[1][rows][later.masked])
    log_now, log_then = (logits[k][rows][later.masked].log_softmax(-1) for k in (1, 0))
    expected = (log_now.exp() * (log_now - log_then)).nan_to_num(nan=0.0).sum(-1)
    for size in (1 << 22, 15, 5):
        monkeypatch.setattr(base, "CHUNK_BYTES", 4 * size)
        torch.testing.assert_close(before.divergence(now), expected, rtol=1e-12, atol=1e-12)


def test_what_was_not_masked_before_or_is_new_has_moved_without_bound():
    canvas = Canvas.make(torch.zeros(2, 2, dtype=torch.long), torch.tensor([[True, False], [True, True]]), 3)
    said = Denoised.from_logits(canvas, torch.zeros(3, 2, dtype=torch.float64))
    assert Previous.nothing(canvas).divergence(said).tolist() == [math.inf] * 3
    mixed = Previous.nothing(canvas).where_rows(torch.tensor([True, False]), Previous.of(said))
    assert mixed.divergence(said).tolist() == [math.inf, 0, 0]


def test_in_blocks_each_block_has_to_be_watched_first():
    case = Script([[0.99, 0.98, 0.7, 0.8, 0.75, 0.7]])
    assert case.revealed_at(make_sampler("klass:block=3"), budget=12) == [1, 2, 3, 4, 5, 6]
    assert case.revealed_at(make_sampler("klass:block=3,window=1"), budget=12) == [1, 2, 2, 3, 4, 4]


@pytest.mark.parametrize("options", [{"level": 2}, {"kl": -1}, {"window": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=rf"{next(iter(options))} must be a (whole )?number"):
        KLASS(**options)
