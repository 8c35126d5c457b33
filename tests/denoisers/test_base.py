"""The statistics of a denoiser's answer: what they are, and that nobody pays for what nobody reads."""

import weakref
from dataclasses import replace

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


class Counting:
    """Logits that count the rows that were made."""

    def __init__(self, logits, made=None):
        self.logits, self.made = logits, [] if made is None else made

    def __call__(self, part):
        self.made += [len(self.logits[part])]
        return self.logits[part]

    def take(self, index):
        return Counting(self.logits[index], self.made)


@pytest.fixture
def counting(canvas, logits):
    rows = Counting(logits)
    return Denoised(canvas.masked.nonzero(), (ROWS, LENGTH), VOCABULARY, rows), rows.made


@pytest.fixture
def some(canvas):
    """Every third position."""
    return (torch.arange(ROWS * LENGTH) % 3 == 0).view(ROWS, LENGTH)


@pytest.mark.parametrize("held", [True, False])
def test_an_answer_at_some_positions_is_the_answer_there(canvas, logits, counting, some, held):
    whole = Denoised.from_logits(canvas, logits)
    fewer = (whole if held else counting[0]).only(some)
    assert torch.equal(fewer.where, some.nonzero())
    keep = some[canvas.masked]
    for name in ("top2", "top2_tokens", "entropy"):
        assert torch.equal(getattr(fewer, name), getattr(Denoised.from_logits(canvas, logits), name)[keep])
    tokens = whole.top2_tokens[:, 1]
    assert torch.equal(fewer.log_prob(tokens[keep]), whole.log_prob(tokens)[keep])
    uniform = torch.linspace(0.01, 0.99, len(logits)).double()
    assert torch.equal(fewer.draw(uniform[keep], 0.7), whole.draw(uniform, 0.7)[keep])
    assert torch.equal(fewer.logits_at(torch.tensor([2, 0])), logits[keep][[2, 0]])
    assert torch.equal(fewer.to_rows(fewer.top2[:, 0], -1.0) >= 0, some)


def test_logits_are_made_of_the_positions_that_are_read_and_once(counting, some):
    denoised, made = counting
    fewer = denoised.only(some)
    assert made == []
    assert fewer.top2.shape == (int(some.sum()), 2)
    assert made == [int(some.sum())]
    fewest = denoised.only(some & (torch.arange(LENGTH) < 4))
    assert fewest.top2_tokens.shape == (len(fewest.where), 2)
    assert made == [int(some.sum())], "what a part of it knows already"
    assert denoised.only(~some).top2.shape == (len(denoised.where) - int(some.sum()), 2)
    assert made == [int(some.sum()), len(denoised.where) - int(some.sum())]


def test_what_the_whole_knows_is_not_made_again_for_a_part(counting, some):
    denoised, made = counting
    assert denoised.entropy.shape == (len(denoised.where),)
    fewer = denoised.only(some)
    assert torch.equal(fewer.top2, denoised.top2[some.flatten()])
    assert torch.equal(fewer.entropy, denoised.entropy[some.flatten()])
    assert made == [len(denoised.where)]


def test_entropy_that_nobody_reads_is_not_made_although_logits_are_not_held(counting, monkeypatch):
    asked = []
    plain = base.statistics
    monkeypatch.setattr(base, "statistics", lambda logits, entropy: asked.append(entropy) or plain(logits, entropy))
    denoised, _ = counting
    assert denoised.top2.shape == (len(denoised.where), 2)
    assert asked == [False]


def test_nobody_is_asked_about_no_position(counting):
    denoised, made = counting
    nothing = denoised.only(torch.zeros(ROWS, LENGTH, dtype=torch.bool))
    assert nothing.top2.shape == (0, 2)
    assert nothing.draw(torch.zeros(0).double(), 1.0).shape == (0,)
    assert made == []


def test_a_function_of_slices_alone_answers_for_all(canvas, logits, some):
    """A denoiser of somebody else's need not be able to give single rows."""
    whole = Denoised(canvas.masked.nonzero(), (ROWS, LENGTH), VOCABULARY, lambda part: logits[part])
    assert whole.only(some) is whole


@pytest.mark.parametrize("read", ["top2", "entropy", "log_prob", "draw"])
def test_of_a_large_vocabulary_one_chunk_is_held_at_a_time(canvas, read, monkeypatch):
    """The rows of a chunk are gone before those of the next are made."""
    monkeypatch.setattr(base, "CHUNK_BYTES", 10 * VOCABULARY * 4)
    alive = weakref.WeakSet()

    def head(part):
        assert len(alive) == 0, "the chunk before is still held"
        made = torch.zeros(len(range(*part.indices(ROWS * LENGTH))), VOCABULARY)
        alive.add(made)
        return made

    denoised = Denoised(canvas.masked.nonzero(), (ROWS, LENGTH), VOCABULARY, head)
    if read == "log_prob":
        denoised.log_prob(torch.zeros(ROWS * LENGTH, dtype=torch.long))
    elif read == "draw":
        denoised.draw(torch.full((ROWS * LENGTH,), 0.5, dtype=torch.float64), 1.0)
    else:
        getattr(denoised, read)
    assert len(denoised.chunks()) == 4


def test_nothing_masked_has_empty_statistics(canvas):
    denoised = Denoised.from_logits(canvas.restrict(torch.zeros_like(canvas.masked)), torch.zeros(0, VOCABULARY))
    assert denoised.top2.shape == denoised.top2_tokens.shape == (0, 2)
    assert denoised.entropy.shape == (0,)
    assert denoised.log_prob(torch.zeros(0, dtype=torch.long)).shape == (0,)
    assert denoised.draw(torch.zeros(0, dtype=torch.float64), 1.0).shape == (0,)


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


def test_what_says_that_it_reads_entropy_has_all_made_in_one_pass_in_any_order(counting, some):
    denoised, made = counting
    part = replace(denoised, reads_entropy=True).only(some)
    assert part.top2.shape == (int(some.sum()), 2)
    assert part.entropy.shape == (int(some.sum()),)
    assert made == [int(some.sum())]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_uniform_however_large_or_small_writes_an_impossible_token(canvas, logits, share):
    """Rounded up, the largest would fall behind the last possible one, where an embedding may be padded."""
    logits[:, 40:] = -torch.inf
    logits[:, :3] = -torch.inf
    uniform = torch.full((len(logits),), share, dtype=torch.float64)
    drawn = Denoised.from_logits(canvas, logits).draw(uniform, 1.0)
    assert torch.isfinite(logits.gather(1, drawn[:, None])).all()


@pytest.mark.parametrize("vocabulary", [2, 3, 20, 333, 5000])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_of_equally_probable_tokens_the_first_is_the_best_as_argmax_has_it(vocabulary, dtype):
    """`topk` takes any of them, and which one depends on the vocabulary and the device."""
    generator = torch.Generator().manual_seed(1)
    coarse = (torch.randn(300, vocabulary, generator=generator) * 2).round().to(dtype)
    coarse[:3], coarse[3, 1:] = 0, -torch.inf
    canvas = Canvas.make(torch.zeros(1, 300, dtype=torch.long), torch.ones(1, 300, dtype=torch.bool), 1)
    best, second = Denoised.from_logits(canvas, coarse).top2_tokens.T
    assert torch.equal(best, coarse.argmax(-1))
    without = coarse.float().clamp(min=-1e30).scatter(1, best[:, None], -torch.inf)
    assert torch.equal(second, without.argmax(-1))


def test_what_float32_cannot_tell_apart_as_probabilities_is_told_apart_as_logits():
    """Over many tokens the log-probabilities of two near logits round to one number; the larger is still the best."""
    logits = torch.zeros(1, 126_464)
    logits[0, 7], logits[0, 9] = 1.0, 1.0 + 2**-23
    canvas = Canvas.make(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.bool), 1)
    assert float(logits.log_softmax(-1)[0, 7]) == float(logits.log_softmax(-1)[0, 9])
    assert Denoised.from_logits(canvas, logits).top2_tokens.tolist() == [[9, 7]]


@pytest.mark.parametrize(
    ("logits", "hidden", "message"),
    [
        (torch.zeros(36, 1), None, r"at least two tokens, got \[36, 1\]"),
        (torch.zeros(36, 3, dtype=torch.complex64), None, "logits must be real numbers, got torch.complex64"),
        (torch.zeros(36, 3), torch.zeros(35, 4), r"hidden must be a tensor \[36, width\].* got \[35, 4\]"),
        (torch.zeros(36, 3), torch.zeros(36), r"hidden must be a tensor \[36, width\].* got \[36\]"),
    ],
)
def test_logits_and_hidden_states_that_cannot_be_are_refused(canvas, logits, hidden, message):
    with pytest.raises(UserError, match=message):
        Denoised.from_logits(canvas, logits, hidden)
