"""The statistics of a denoiser's answer: what they are, and that nobody pays for what nobody reads."""

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.denoisers import base
from unmask.denoisers.base import Denoised

ROWS, LENGTH, VOCABULARY = 4, 9, 50


@pytest.fixture
def canvas():
    shape = (ROWS, LENGTH)
    return Canvas.make(torch.zeros(shape, dtype=torch.long), torch.ones(shape, dtype=torch.bool), 4)


@pytest.fixture
def logits():
    made = torch.randn(ROWS * LENGTH, VOCABULARY, generator=torch.Generator().manual_seed(0)) * 4
    made[:, 2] = -torch.inf
    made[5] *= 1000
    return made


@pytest.mark.parametrize("piece", [1 << 20, 3 * VOCABULARY])
def test_statistics_are_those_of_the_plain_formulas_to_the_last_bit(canvas, logits, monkeypatch, piece):
    monkeypatch.setattr(base, "PIECE_ELEMENTS", piece)
    before = logits.clone()
    denoised = Denoised.from_logits(canvas, logits)
    log_prob = logits.log_softmax(-1)
    top = log_prob.topk(2, -1)
    assert torch.equal(denoised.top2, top.values.exp())
    assert torch.equal(denoised.top2_tokens, top.indices)
    assert torch.equal(denoised.entropy, -(log_prob.exp() * log_prob.clamp(min=-1e30)).sum(-1))
    assert torch.equal(logits, before)


def test_logits_that_are_held_are_asked_for_their_entropy_only_when_it_is_read(canvas, logits, monkeypatch):
    asked = []
    plain = base.statistics
    monkeypatch.setattr(base, "statistics", lambda logits, entropy: asked.append(entropy) or plain(logits, entropy))
    denoised = Denoised.from_logits(canvas, logits)
    assert denoised.top2.shape == denoised.top2_tokens.shape == (len(logits), 2)
    assert asked == [False]
    assert denoised.entropy.shape == denoised.entropy.shape == (len(logits),)
    assert asked == [False, True]


def test_an_output_head_runs_once_whatever_is_read(canvas, logits):
    runs = []

    def head(chunk):
        runs.append(chunk)
        return logits[chunk]

    denoised = Denoised(canvas.masked.nonzero(), (ROWS, LENGTH), VOCABULARY, head)
    assert torch.equal(denoised.entropy, Denoised.from_logits(canvas, logits).entropy)
    assert denoised.top2.shape == (len(logits), 2)
    assert len(runs) == 1


def test_nothing_masked_has_empty_statistics(canvas):
    denoised = Denoised.from_logits(canvas.restrict(torch.zeros_like(canvas.masked)), torch.zeros(0, VOCABULARY))
    assert denoised.top2.shape == denoised.top2_tokens.shape == (0, 2)
    assert denoised.entropy.shape == (0,)
