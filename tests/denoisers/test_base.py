"""The statistics of a denoiser's answer: what they are, and that nobody pays for what nobody reads."""

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
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


READERS = {
    "top2": lambda denoised: denoised.top2,
    "top2_tokens": lambda denoised: denoised.top2_tokens,
    "entropy": lambda denoised: denoised.entropy,
    "log_prob": lambda denoised: denoised.log_prob(torch.zeros(len(denoised.where), dtype=torch.long)),
    "draw at 0": lambda denoised: denoised.draw(torch.full((len(denoised.where),), 0.5), 0.0),
    "draw at 1": lambda denoised: denoised.draw(torch.full((len(denoised.where),), 0.5), 1.0),
}
WRONG = {
    "NaN": lambda row: row.index_fill(0, torch.tensor([7]), torch.nan),
    "infinite": lambda row: row.index_fill(0, torch.tensor([7]), torch.inf),
    "every token impossible": lambda row: row.fill_(-torch.inf),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("reader", READERS)
def test_logits_that_are_no_distribution_are_refused_with_step_and_row(canvas, logits, reader, what, dtype):
    """Whichever chunk they are in, and however they are read."""
    logits = logits.clamp(-100, 100).index_fill(1, torch.tensor([2]), -torch.inf).to(dtype)
    fine = Denoised.from_logits(canvas, logits.clone())
    READERS[reader](fine)  # what is impossible is no mistake
    logits[2 * LENGTH + 3] = WRONG[what](logits[2 * LENGTH + 3].clone())
    there = Canvas(**{**vars(canvas), "row": canvas.row + 70, "step": canvas.step + 4})
    with pytest.raises(UserError, match=f"{what}.* position 3 of row 72, at step 5"):
        READERS[reader](Denoised.from_logits(there, logits))
    chunked = Denoised(there.masked.nonzero(), (ROWS, LENGTH), VOCABULARY, lambda chunk: logits[chunk])
    with pytest.raises(UserError, match=f"{what}.* at position 3,"):
        READERS[reader](chunked)


def test_the_refusal_says_what_to_try(canvas, logits):
    logits[0] = torch.nan
    with pytest.raises(UserError, match=r"float32\).*another \(bfloat16 or float32\).*weights are damaged"):
        _ = Denoised.from_logits(canvas, logits).top2


def test_one_look_at_the_vocabulary_says_whether_logits_are_numbers(canvas, logits, monkeypatch):
    """No pass of its own: the statistics that are made anyway show it."""
    passes = []
    plain = base.statistics
    monkeypatch.setattr(base, "statistics", lambda logits, entropy: passes.append(1) or plain(logits, entropy))
    runs = []
    denoised = Denoised(canvas.masked.nonzero(), (ROWS, LENGTH), VOCABULARY, lambda c: runs.append(c) or logits[c])
    assert denoised.top2.shape == (len(logits), 2)
    assert len(passes) == len(runs) == 1
