import pytest
import torch

from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.samplers.iid import IID
from unmask.samplers.remdm import ReMDM, Written

ROWS = 20_000


def rates(confident, sampler, written, step, budget, probability=None):
    """How often each position of six is revealed or taken back, over many rows."""
    case = confident([0.6] * 6, rows=ROWS)
    start = case.canvas(budget)
    canvas = start
    chosen = torch.zeros_like(start.masked)
    chosen[:, list(written)] = True
    canvas = canvas.reveal(chosen, torch.zeros_like(start.tokens))
    canvas = type(canvas)(*(*[getattr(canvas, n) for n in ("tokens", "masked", "valid")], canvas.step * 0 + step,
                            canvas.budget, canvas.row))  # fmt: skip
    c = torch.ones_like(start.tokens, dtype=torch.float64)
    if probability is not None:
        c = torch.tensor(probability, dtype=torch.float64).expand(ROWS, 6)
    drawn = torch.zeros_like(start.tokens) if sampler.reads_tokens else None
    edit, _ = sampler.edit(canvas, case(canvas), drawn, Written(start.masked, c), Draws(0).at(canvas))
    return edit.reveal.double().mean(0), edit.remask.double().mean(0)


def close(found, expected):
    expected = torch.tensor(expected, dtype=torch.float64)
    error = (expected * (1 - expected) / ROWS).sqrt()
    assert ((found - expected).abs() <= 4 * error).all(), (found, expected)


def test_both_probabilities_by_hand(confident):
    """T = 4, 2 left: a_t = 1/2, a_s = 3/4; sigma = min(.1, .25 / .5) = .1, revealed with (.75 - .9 * .5) / .5 = .6."""
    reveal, remask = rates(confident, ReMDM(eta=0.1), written=(0, 1), step=2, budget=4)
    close(reveal, [0, 0, 0.6, 0.6, 0.6, 0.6])
    close(remask, [0.1, 0.1, 0, 0, 0, 0])


def test_sigma_is_capped_so_that_nothing_has_to_be_revealed_with_more_than_certainty(confident):
    """T = 4, two left: (1 - a_s) / a_t = .5 caps eta = 1; revealed with (.75 - .5 * .5) / .5 = 1."""
    reveal, remask = rates(confident, ReMDM(eta=1), written=(0, 1), step=2, budget=4)
    close(reveal, [0, 0, 1, 1, 1, 1])
    close(remask, [0.5, 0.5, 0, 0, 0, 0])


def test_the_first_step_has_nothing_to_take_back_and_the_last_takes_nothing(confident):
    """a_t = 0: revealed with a_s = 1/4 whatever sigma is. One left: a_s = 1, sigma 0, all revealed."""
    reveal, remask = rates(confident, ReMDM(eta=0.5), written=(), step=0, budget=4)
    close(reveal, [0.25] * 6)
    close(remask, [0] * 6)
    reveal, remask = rates(confident, ReMDM(eta=0.5), written=(0,), step=3, budget=4)
    close(reveal, [0, 1, 1, 1, 1, 1])
    close(remask, [0] * 6)


def test_conf_shares_sigma_by_the_softmax_of_minus_c(confident):
    """Written with .2 and .9: weights e^-.2 = .819 and e^-.9 = .407, shares .668 and .332 of sigma = .4. Masked are
    revealed as with sigma 0: (.75 - .5) / .5 = .5."""
    sampler = ReMDM(eta=0.4, conf=True)
    reveal, remask = rates(confident, sampler, (0, 1), step=2, budget=4, probability=[0.2, 0.9, 1, 1, 1, 1])
    shares = torch.tensor([-0.2, -0.9], dtype=torch.float64).softmax(-1)
    close(remask, [*(0.4 * shares).tolist(), 0, 0, 0, 0])
    close(reveal, [0, 0, 0.5, 0.5, 0.5, 0.5])


def test_conf_remembers_the_probability_of_what_was_drawn(confident):
    """Token 1 has .4 where token 0 has .6; only what is revealed is remembered."""
    case = confident([0.6] * 6, rows=50)
    canvas = case.canvas(2)
    state = ReMDM(conf=True).init(canvas)
    drawn = torch.tensor([0, 1, 0, 1, 0, 1]).expand(50, 6)
    edit, after = ReMDM(conf=True).edit(canvas, case(canvas), drawn, state, Draws(0).at(canvas))
    expected = torch.tensor([0.6, 0.4] * 3, dtype=torch.float64).expand(50, 6).where(edit.reveal, 1.0)
    torch.testing.assert_close(after.probability, expected)
    assert bool((state.probability == 1).all())


def test_without_eta_it_is_iid(confident):
    case = confident([0.6] * 7, rows=200)
    ours, theirs = (case.decode(sampler, 5, temperature=1.0) for sampler in (ReMDM(eta=0), IID()))
    assert torch.equal(ours.revealed_at, theirs.revealed_at)
    assert torch.equal(ours.canvas.tokens, theirs.canvas.tokens)
    assert torch.equal(ours.nfe, theirs.nfe)


@pytest.mark.parametrize(("options", "message"), [({"eta": 2}, "eta must be a number from 0 to 1"),
                                                  ({"conf": 1}, "conf must be true or false, got 1")])  # fmt: skip
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        ReMDM(**options)
