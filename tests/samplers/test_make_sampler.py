import pytest

from unmask.core.errors import UserError
from unmask.core.registry import parse_spec
from unmask.samplers import COMMON_OPTIONS, SAMPLERS, make_sampler, sampler_options
from unmask.samplers.blockwise import Blockwise, BlockwiseEditor
from unmask.samplers.budgeted import Budgeted
from unmask.samplers.early_exit import EarlyExit
from unmask.samplers.end_of_text import EndOfText
from unmask.samplers.entropy import Entropy
from unmask.samplers.iid import IID
from unmask.samplers.p2 import P2
from unmask.samplers.remdm import ReMDM
from unmask.samplers.threshold import Threshold


@pytest.mark.parametrize(
    ("text", "sampler"),
    [
        ("iid", IID()),
        ("threshold", Threshold(0.9)),
        ("threshold:level=0.7", Threshold(0.7)),
        ("threshold:level=1", Threshold(1)),
        ("entropy:alg-temp=0.5,block=8", Blockwise(Entropy(0.5), 8)),
        ("iid:eot=free,pace=false", IID()),
        ("iid:pace=true", Budgeted(IID())),
        ("iid:pace=exact", Budgeted(IID(), exact=True)),
        ("iid:exit=prophet,answer=3", EarlyExit(IID(), 3)),
        ("iid:exit=prophet,block=4", EarlyExit(Blockwise(IID(), 4))),
        ("p2:block=4", BlockwiseEditor(P2(), 4)),
        ("remdm:conf=true,eta=0.1", ReMDM(0.1, True)),
        ("iid:pace=true,eot=tail,block=4", Blockwise(Budgeted(EndOfText(IID(), "tail", 7)), 4)),
    ],
)
def test_a_line_of_text_becomes_a_sampler(text, sampler):
    assert make_sampler(text, end_token=7) == sampler
    assert make_sampler(parse_spec(text), end_token=7) == sampler


def test_a_sampler_passes_through():
    sampler = Threshold(0.3)
    assert make_sampler(sampler) is sampler


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("margn", "unknown sampler `margn`. Did you mean `margin`?.*unmask list samplers"),
        (
            "threshold:levl=0.7",
            "unknown option of `threshold` `levl`. Did you mean `level`?.*answer, block, eot, exit, level, pace",
        ),
        ("top-prob:level=0.7", "unknown option of `top-prob` `level`.*answer, block, eot, eps, exit, pace, schedule"),
        ("threshold:level=7", "level must be a number from 0 to 1, got 7"),
        ("threshold:level=high", "level must be a number from 0 to 1, got high"),
        ("margin:block=0", "block must be a whole number of at least 1, got 0"),
        ("margin:eot=late", "eot must be one of free, defer, tail, zero, got late"),
        ("margin:pace=2", "pace must be one of true, false, exact, got 2"),
        ("margin:eot=defer", "eot=defer needs an end token"),
        ("margin:block", "cannot read option `block`"),
        ("learned", "load the order from its folder"),
    ],
)
def test_a_wrong_line_says_what_would_be_right(text, message):
    with pytest.raises(UserError, match=message):
        make_sampler(text)


def test_own_options_come_with_their_defaults():
    assert sampler_options("threshold") == {"level": 0.9}
    assert sampler_options("entropy-bounded") == {"bound": 0.1}
    assert sampler_options("dilated") == {}


def test_no_sampler_has_an_option_that_hides_a_common_one():
    assert not set(COMMON_OPTIONS) & {option for name in SAMPLERS for option in sampler_options(name)}


@pytest.mark.parametrize(
    "spec", ["klass:window={}", "slowfast:explore={}", "wino:most={}", "wino:least={}", "top-prob:block={}",
             "top-prob:exit=prophet,answer={}"],
)  # fmt: skip
def test_a_whole_number_that_no_tensor_holds_is_refused_where_it_comes_in(spec):
    make_sampler(spec.format(2**63 - 1))
    with pytest.raises(UserError, match="must be at most 9223372036854775807, which is what 64 bits hold"):
        make_sampler(spec.format(2**63))
