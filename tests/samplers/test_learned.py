from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from unmask.core.errors import UserError
from unmask.reveals.bernoulli import Bernoulli
from unmask.samplers.budgeted import Budgeted
from unmask.samplers.learned import DecodeRule, Learned

COINS = [0.1, 0.7, 0.45, 0.6]
ROWS = 6000


@dataclass(frozen=True)
class Law:
    """Unconditioned coins with a `sharpen`, and nothing more."""

    coins: Tensor
    may_be_empty: bool = True

    def sample(self, draws):
        return draws.uniform("reveal") < self.coins

    def log_prob(self, positions):
        raise NotImplementedError

    def inclusion(self):
        return self.coins

    def sharpen(self, factor):
        return replace(self, coins=(self.coins.logit() * factor).sigmoid())


def coins(canvas, denoised):
    return Law(torch.tensor(COINS).expand(canvas.masked.shape))


def conditioned(canvas, denoised):
    return Bernoulli(torch.tensor(COINS).logit().expand(canvas.masked.shape), canvas.masked)


def test_a_threshold_takes_every_coin_at_or_above_the_level(confident):
    case = confident([0.5] * 4)
    assert case.picks(Learned(coins, DecodeRule("threshold")), budget=4) == [1, 3]
    assert case.picks(Learned(coins, DecodeRule("threshold", level=0.4)), budget=4) == [1, 2, 3]


def test_a_threshold_above_every_coin_takes_the_largest(confident):
    assert confident([0.5] * 4).picks(Learned(coins, DecodeRule("threshold", level=0.99)), budget=4) == [1]


def test_the_threshold_is_on_the_coins_and_not_on_the_larger_inclusion(confident):
    """Given at least one success the coin .45 is included with .45 / (1 - .9 * .3 * .55 * .4) = .478."""
    law = Learned(conditioned, DecodeRule("threshold", level=0.47))
    assert confident([0.5] * 4).picks(law, budget=4) == [1, 3]


def test_samples_follow_the_law(confident):
    case = confident([0.5] * 4, rows=ROWS)
    for policy in (coins, conditioned):
        canvas = case.canvas(4)
        expected = policy(canvas, None).inclusion()[0].double()
        found = case.first_choice(Learned(policy), budget=4).double().mean(0)
        assert ((found - expected).abs() < 4 * (expected * (1 - expected) / ROWS).sqrt()).all()


def test_a_law_that_forgets_the_mask_reveals_no_visible_position(confident):
    case = confident([0.5] * 4, rows=100, visible=(1,))
    assert not case.first_choice(Learned(coins), budget=4)[:, 1].any()
    assert case.picks(Learned(coins, DecodeRule("threshold")), budget=4) == [3]


@pytest.mark.parametrize("knob", ["sharpness", "scale"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0])
def test_a_knob_that_is_no_factor_is_refused(knob, value):
    with pytest.raises(UserError, match=f"{knob} must be a .*number"):
        DecodeRule(**{knob: value})


def test_sharpness_multiplies_the_logits(confident):
    """Coin .7 has odds 7/3; twice the logit squares them: 49/58."""
    found = confident([0.5] * 4, rows=ROWS).first_choice(Learned(coins, DecodeRule(sharpness=2.0)), 4)
    expected = 49 / 58
    assert abs(found[:, 1].double().mean() - expected) < 4 * (expected * (1 - expected) / ROWS) ** 0.5


def test_sharpness_is_refused_where_a_law_has_none(confident):
    class Blunt:
        def inclusion(self):
            return torch.ones(1, 4)

    with pytest.raises(UserError, match="sharpness must be 1 for Blunt"):
        confident([0.5] * 4).picks(Learned(lambda canvas, denoised: Blunt(), DecodeRule(sharpness=2.0)), 4)


def test_a_paced_rule_takes_what_an_even_pace_asks_for_the_likeliest_first(confident):
    """Four positions: two at a time in two steps, one in four."""
    case, rule = confident([0.5] * 4), DecodeRule("threshold", level=0.65, pace=True)
    assert case.picks(Learned(coins, replace(rule, pace=False)), budget=2) == [1]
    assert case.picks(Learned(coins, rule), budget=2) == [1, 3]
    assert case.picks(Learned(coins, rule), budget=4) == [1]
    assert case.picks(Learned(coins, replace(rule, level=0.4)), budget=2) == [1, 2, 3], "never fewer than its own"


def test_paced_it_is_what_a_budget_around_it_would_make_of_it_and_never_empty(confident):
    case = confident([0.5] * 4, rows=300)
    for rule in (DecodeRule(), DecodeRule("threshold", level=0.9)):
        paced = Learned(coins, replace(rule, pace=True))
        ours, theirs = case.first_choice(paced, budget=2), case.first_choice(Budgeted(Learned(coins, rule)), budget=2)
        assert torch.equal(ours, theirs)
        assert bool((ours.sum(-1) >= 2).all())
        assert not paced.may_be_empty


def test_a_rule_survives_the_way_to_a_file_and_back():
    rule = DecodeRule("threshold", level=0.3, sharpness=1.5)
    assert rule.to_dict() == {"kind": "threshold", "level": 0.3, "sharpness": 1.5, "scale": 1.0, "pace": False}
    assert DecodeRule.from_dict(rule.to_dict()) == rule


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "argmax"}, "decode rule must be one of sample, threshold, got argmax"),
        ({"levl": 0.5}, "Did you mean `level`"),
        ({"level": 2}, "level must be a number from 0 to 1, got 2"),
        ({"pace": "yes"}, "pace must be true or false, got 'yes'"),
        ({"sharpness": -1}, "sharpness must be a number of at least 0"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(values, message):
    with pytest.raises(UserError, match=message):
        DecodeRule.from_dict(values)


@pytest.mark.parametrize("rule", [DecodeRule("sample"), DecodeRule("threshold"), DecodeRule("threshold", pace=True)])
def test_a_law_that_is_no_number_in_one_row_is_refused_by_row_and_step(confident, rule):
    """As hidden states make it that pass float16: nothing of it, or all of it, would be revealed without a word."""
    case = confident([0.5] * 4, rows=3)

    def damaged(canvas, denoised):
        logits = torch.tensor(COINS).logit().repeat(len(canvas.row), 1)
        logits[(canvas.row == 1) & (canvas.step == 1)] = torch.nan
        return Bernoulli(logits, canvas.masked)

    with pytest.raises(UserError, match="the learned order gives NaN for row 1, at step 2"):
        case.decode(Learned(damaged, rule), budget=9, seed=2)
